package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// jobResults are the results of two build jobs of the example, on machines with a store and a home each. Tests copy them.
var jobResults = sync.OnceValues(func() (dirs [2]string, err error) {
	file, err := buildOnce()
	if err != nil {
		return dirs, err
	}
	for i := range dirs {
		home := filepath.Join(sharedDir, fmt.Sprintf("machine-%d", i+1))
		dirs[i] = filepath.Join(home, "out")
		if err := os.MkdirAll(home, 0o755); err != nil {
			return dirs, err
		}
		cmd := exec.Command(file, "build", "example", "--engine", "host", "--system", "x86_64-linux", "--contract", "off", "--rebuild=off", "--out", dirs[i])
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8", "NIX_REMOTE=local?root=" + filepath.Join(home, "store")}
		if out, err := cmd.CombinedOutput(); err != nil {
			return dirs, fmt.Errorf("build: %w\n%s", err, out)
		}
		makeWritable(home)
	}
	return dirs, nil
})

// publishJob is a job with a secret that publishes what others have built.
type publishJob struct {
	dir            string // with what follows, and out
	build, rebuild string
	server         *cachixtest.Server
	writes         func() []string
}

func newPublishJob(t *testing.T) *publishJob {
	t.Helper()
	needsNix(t)
	results, err := jobResults()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := &publishJob{dir: dir, build: filepath.Join(dir, "build"), rebuild: filepath.Join(dir, "rebuild")}
	for i, to := range []string{j.build, j.rebuild} {
		if err := os.CopyFS(to, os.DirFS(results[i])); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var writes []string
	j.server = cachixtest.New(cachixtest.Options{Log: func(r cachixtest.Request) {
		if r.Method == "PUT" || strings.Contains(r.Path, "/multipart-nar") || strings.HasSuffix(r.Path, "/pin") {
			mu.Lock()
			defer mu.Unlock()
			writes = append(writes, r.Method+" "+r.Path)
		}
	}})
	t.Cleanup(j.server.Close)
	j.writes = func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(writes) }
	return j
}

// command is a process of publish that finds no program.
func (j *publishJob) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	tmp := filepath.Join(j.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"publish", "--since", "none", "--cachix-url", j.server.APIURL(), "--confirm-timeout", "0s", "--secret-env", "TOKEN", "--out", "out"}, args...)
	cmd := exec.CommandContext(t.Context(), buildCI(t), args...)
	cmd.Dir = j.dir
	cmd.Env = []string{"PATH=/nonexistent", "HOME=" + tmp, "TMPDIR=" + tmp, "LANG=C.UTF-8", "TOKEN=" + cachixtest.TestToken}
	return cmd
}

func (j *publishJob) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := j.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Builds without rebuilds need --rebuild=off. No output counts as reproducible then. Arguments after --against are rebuilds.
func TestPublishWithoutRebuild(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no consent":        {nil, exitUsage, "--rebuild=off"},
		"off":               {[]string{"--rebuild=off", "--pin=false"}, exitOK, "2 of 2 packages good"},
		"off, with rebuild": {[]string{"--rebuild=off", "--against", "REBUILD"}, exitUsage, "exclude each other"},
		"two rebuilds":      {[]string{"--against", "REBUILD", "REBUILD"}, exitFailed, "two are of x86_64-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			args := append([]string{filepath.Join(j.build, "manifest.json")}, test.args...)
			for i, arg := range args {
				if arg == "REBUILD" {
					args[i] = j.rebuild
				}
			}
			code, _, stderr := j.run(t, args...)
			if code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, test.code, test.want, stderr)
			}
			if len(j.server.Pins()) > 0 || (len(j.server.Paths()) > 0) != (code == exitOK) {
				t.Errorf("%d paths, pins %v", len(j.server.Paths()), j.server.Pins())
			}
			if code != exitOK {
				return
			}
			m, err := run.ReadManifest(filepath.Join(j.dir, "out", "manifest.json"))
			if err != nil || m.Cells[0].Packages[0].Reproducible() != run.Unknown || m.Cells[0].Second != nil {
				t.Errorf("%v: %+v", err, m)
			}
		})
	}
}

// Two machines build, a third without Nix publishes: what they agree on is pushed, confirmed and pinned, with one manifest,
// bills of materials and provenance. Run again, it pushes nothing.
func TestPublishWhatTwoMachinesHaveBuilt(t *testing.T) {
	t.Parallel()
	j := newPublishJob(t)
	code, stdout, stderr := j.run(t, j.build, "--against", j.rebuild)
	if code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	if n := len(strings.Fields(stdout)); n != 2 || len(j.server.Pins()) != 2 {
		t.Errorf("%d outputs, pins %v:\n%s", n, j.server.Pins(), stderr)
	}
	m, err := run.ReadManifest(filepath.Join(j.dir, "out", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	cell := m.Cells[0]
	if m.Outcome != run.OutcomeGood || !cell.Published() || !cell.Reported || cell.Second == nil || cell.Second.Engine == nil {
		t.Errorf("manifest: %+v", cell)
	}
	for _, p := range cell.Packages {
		if p.Reproducible() != run.Good || p.Consumer != run.Visible {
			t.Errorf("%s: rebuild %s, consumer %q", p.Package, p.Reproducible(), p.Consumer)
		}
	}
	statement := readTest(t, filepath.Join(j.dir, "out", "provenance.intoto.jsonl"))
	for _, want := range []string{`"reported":true`, `"second":{`, "received/build-1.json", "received/rebuild-1.json", ".cdx.json"} {
		if !strings.Contains(statement, want) {
			t.Errorf("the provenance lacks %s:\n%s", want, statement)
		}
	}
	before := len(j.server.Paths())
	pushed := len(j.writes())
	if code, _, stderr := j.run(t, j.build, "--against", j.rebuild); code != exitOK {
		t.Fatalf("again: exit code %d:\n%s", code, stderr)
	}
	for _, w := range j.writes()[pushed:] {
		if !strings.HasSuffix(w, "/pin") {
			t.Errorf("the second run sends %s", w)
		}
	}
	if after := len(j.server.Paths()); after != before {
		t.Errorf("%d paths after the second run, not %d", after, before)
	}
}

// A publish is interrupted at each step, and run again: nothing is pinned before all is pushed, and no path is sent twice.
func TestPublishInterruptedAndRunAgain(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"verify", "rebuild", "preflight", "push", "confirm", "pin", "sbom"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			cmd := j.command(t, j.build, "--against", j.rebuild)
			stderr := &watched{word: " " + step + " ", seen: make(chan struct{})}
			cmd.Stderr = stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			select {
			case <-stderr.seen:
				_ = cmd.Process.Signal(syscall.SIGKILL)
				<-exited
			case <-exited:
				t.Fatalf("it never prints %q:\n%s", step, stderr)
			}
			if pins, paths := len(j.server.Pins()), len(j.server.Paths()); pins > 0 && paths != 10 {
				t.Errorf("%d pins with %d of 10 paths", pins, paths)
			}
			before := j.server.Paths()
			started := len(j.writes())
			code, _, log := j.run(t, j.build, "--against", j.rebuild)
			if code != exitOK || len(j.server.Paths()) != 10 || len(j.server.Pins()) != 2 {
				t.Errorf("exit code %d, %d of 10 paths, pins %v:\n%s", code, len(j.server.Paths()), j.server.Pins(), log)
			}
			completed := 0
			for _, w := range j.writes()[started:] {
				if strings.HasSuffix(w, "/complete") {
					completed++
				}
			}
			if want := 10 - len(before); completed != want {
				t.Errorf("%d paths completed by the second run, want %d", completed, want)
			}
		})
	}
}

// On GitHub Actions, with a secret, the builds must be of the commit of the event, or of --rev.
func TestPublishRefusesAnotherCommit(t *testing.T) {
	t.Parallel()
	const event, other = "0123456789012345678901234567890123456789", "9876543210987654321098765432109876543210"
	for name, test := range map[string]struct {
		rev  string // of the manifests
		args []string
		want string // a part of the error; empty for none
	}{
		"of the event":              {event, nil, ""},
		"another":                   {other, nil, "--rev " + other},
		"of the command line":       {other, []string{"--rev", other}, ""},
		"not of the command line":   {event, []string{"--rev", other}, "not of " + other},
		"none":                      {"", nil, "name no commit"},
		"none, of the command line": {"", []string{"--rev", other}, "not of " + other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			if test.rev != "" {
				j.replace(t, j.build, `"narHash": "sha256-`, `"rev": "`+test.rev+`", "narHash": "sha256-`)
			}
			payload := filepath.Join(j.dir, "event.json")
			writeTest(t, payload, `{"repository": {"full_name": "o/r"}}`)
			cmd := j.command(t, append([]string{j.build, "--rebuild=off"}, test.args...)...)
			cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME=push", "GITHUB_EVENT_PATH="+payload, "GITHUB_SHA="+event)
			out, _ := cmd.CombinedOutput() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); (code == exitOK) != (test.want == "") || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, want %q:\n%s", code, test.want, out)
			}
			if (len(j.writes()) > 0) != (test.want == "") {
				t.Errorf("the cache has got %q", j.writes())
			}
		})
	}
}

// Hostile build jobs: each is refused with a message, and the cache gets no write.
func TestPublishRefusesHostileResults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(t *testing.T, j *publishJob)
		args   []string // further ones
		code   int
		want   string
	}{
		"a narinfo with another reference": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { n.first.References = append(n.first.References, n.second.StorePath) })
			}, nil, exitFailed, "other references: one of the narinfos is wrong",
		},
		"a narinfo of another path": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { *n.first = *n.second })
			}, nil, exitFailed, "the narinfo is that of",
		},
		"the NAR of another path": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) {
					path, refs := n.first.StorePath, n.first.References
					*n.first = *n.second
					n.first.StorePath, n.first.References = path, refs
				})
			}, nil, exitFailed, "has the NAR hash",
		},
		"the NAR of another path, in the manifest, too": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) {
					path, refs := n.first.StorePath, n.first.References
					hash, size := n.first.NARHash.SRI(), n.first.NARSize
					*n.first = *n.second
					n.first.StorePath, n.first.References = path, refs
					j.replace(t, j.build, hash, n.second.NARHash.SRI())
					j.replace(t, j.build, fmt.Sprintf(`"narSize": %d`, size), fmt.Sprintf(`"narSize": %d`, n.second.NARSize))
				})
			}, nil, exitDifferent, "differs: NAR hash",
		},
		"damaged contents": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) {
					file := filepath.Join(j.build, "cache", n.first.URL)
					data := []byte(readTest(t, file))
					data[len(data)/2] ^= 1
					writeTest(t, file, string(data))
				})
			}, nil, exitFailed, "verify ",
		},
		"a NAR outside of its directory": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { n.first.URL = "../../rebuild/cache/" + n.first.URL })
			}, nil, exitFailed, "which is not in nar/",
		},
		"a size without end": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { n.first.NARSize = 1 << 62 })
			}, nil, exitFailed, "--max-size",
		},
		"a large file": {
			func(t *testing.T, j *publishJob) {
				writeTest(t, filepath.Join(j.build, "cache", "nar", "large"), "")
				if err := os.Truncate(filepath.Join(j.build, "cache", "nar", "large"), 65<<30); err != nil {
					t.Fatal(err)
				}
			}, nil, exitFailed, "the files have more than",
		},
		"another commit": {
			func(t *testing.T, j *publishJob) {
				j.replace(t, j.build, `"narHash": "sha256-`, `"rev": "0123456789012345678901234567890123456789", "narHash": "sha256-`)
			}, nil, exitFailed, "the rebuilds are of another source",
		},
		"another tree": {
			func(t *testing.T, j *publishJob) { j.replace(t, j.rebuild, `"lastModified": `, `"lastModified": 1`) },
			nil, exitFailed, "the rebuilds are of another source",
		},
		"not the commit of the workflow": {
			func(*testing.T, *publishJob) {}, []string{"--rev", "0123456789012345678901234567890123456789"}, exitFailed, "not of 0123456789012345678901234567890123456789",
		},
		"a failed build": {
			func(t *testing.T, j *publishJob) { j.replace(t, j.build, `"outcome": "good"`, `"outcome": "failed"`) },
			nil, exitFailed, "is not good",
		},
		"a fetched rebuild": {
			func(t *testing.T, j *publishJob) {
				j.replace(t, j.rebuild, `"verdict": "built",
          "derivation"`, `"verdict": "substituted",
          "derivation"`)
			},
			nil, exitFailed, "was fetched from a cache",
		},
		"a symbolic link": {
			func(t *testing.T, j *publishJob) { j.relink(t, os.Symlink) }, nil, exitFailed, "is not a regular file",
		},
		"a hard link": {
			func(t *testing.T, j *publishJob) { j.relink(t, os.Link) }, nil, exitFailed, "hard links",
		},
		"a pipe": {
			func(t *testing.T, j *publishJob) {
				if err := syscall.Mkfifo(filepath.Join(j.build, "cache", "p.narinfo"), 0o644); err != nil {
					t.Fatal(err)
				}
			}, nil, exitFailed, "is not a regular file",
		},
		"a directory that is a link": {
			func(t *testing.T, j *publishJob) {
				if err := os.Rename(filepath.Join(j.build, "cache", "nar"), filepath.Join(j.dir, "nar")); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(j.dir, "nar"), filepath.Join(j.build, "cache", "nar")); err != nil {
					t.Fatal(err)
				}
			}, nil, exitFailed, "is not a",
		},
		"an object that only the build has": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.rebuild, func(n *narinfos) { n.remove = true })
			}, nil, exitFailed, "no rebuild has it",
		},
		"an object that no build has": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { n.remove = true })
			}, nil, exitFailed, "neither in a build nor in a trusted cache",
		},
		"an object without a trusted signature": {
			func(t *testing.T, j *publishJob) {
				j.alter(t, j.build, func(n *narinfos) { n.remove = true })
			}, []string{"--substituter", "file://BUILD"}, exitFailed, "neither in a build nor in a trusted cache",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newPublishJob(t)
			test.change(t, j)
			args := append([]string{j.build, "--against", j.rebuild}, test.args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "file://BUILD", "file://"+filepath.Join(j.rebuild, "cache"))
			}
			code, stdout, stderr := j.run(t, args...)
			if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
				t.Errorf("exit code %d, want %d and %q; output %q:\n%s", code, test.code, test.want, stdout, stderr)
			}
			if _, err := os.Stat(filepath.Join(j.dir, "out", "provenance.intoto.jsonl")); err == nil {
				t.Error("there is a statement about it")
			}
			if w := j.writes(); len(w) > 0 {
				t.Errorf("the cache has got %q", w)
			}
			if code != exitDifferent {
				return
			}
			if kept, _ := filepath.Glob(filepath.Join(j.dir, "out", "differs", "*", "*.nar.zst")); len(kept) != 2 {
				t.Errorf("kept: %q", kept)
			}
		})
	}
}

// narinfos are those of the output "open-sesame" and of another object.
type narinfos struct {
	first, second *nix.NARInfo
	remove        bool // removes the first
}

// alter changes the narinfo of the package open-sesame in the results of a job.
func (j *publishJob) alter(t *testing.T, results string, change func(*narinfos)) {
	t.Helper()
	cache, err := binarycache.OpenReadOnlyIn(regular.AnyDir(filepath.Join(results, "cache")))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := cache.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := run.ReadManifest(filepath.Join(results, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := m.Cells[0].Packages[0].Outputs[0].Path
	n := &narinfos{}
	var others []*nix.NARInfo
	for _, info := range infos {
		found, err := cache.Info(info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Path == path {
			n.first = found
		} else {
			others = append(others, found)
		}
	}
	for _, other := range others {
		if !slices.Contains(n.first.References, other.StorePath) {
			n.second = other
		}
	}
	file := filepath.Join(results, "cache", path.Digest()+".narinfo")
	change(n)
	if n.remove {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := nix.FormatNARInfo(n.first)
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, file, string(text))
}

// replace changes the manifest of a job.
func (j *publishJob) replace(t *testing.T, results, old, new string) {
	t.Helper()
	file := filepath.Join(results, "manifest.json")
	text := readTest(t, file)
	if !strings.Contains(text, old) {
		t.Fatalf("%s has no %q:\n%s", file, old, text)
	}
	writeTest(t, file, strings.Replace(text, old, new, 1))
}

// relink replaces a file of the build by a link to that of the rebuild.
func (j *publishJob) relink(t *testing.T, link func(string, string) error) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(j.build, "cache", "nar", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	other := filepath.Join(j.rebuild, "cache", "nar", filepath.Base(files[0]))
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := link(other, files[0]); err != nil {
		t.Fatal(err)
	}
}
