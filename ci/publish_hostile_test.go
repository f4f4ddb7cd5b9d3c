package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

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
		"a rebuild that was there before": { // two builds in one store
			func(t *testing.T, j *publishJob) {
				j.replace(t, j.rebuild, `"verdict": "built",
          "derivation"`, `"verdict": "present",
          "derivation"`)
			},
			nil, exitFailed, "was not built by the rebuild (present)",
		},
		"a copy of the build": {
			func(t *testing.T, j *publishJob) {
				if err := errors.Join(os.RemoveAll(j.rebuild), os.CopyFS(j.rebuild, os.DirFS(j.build))); err != nil {
					t.Fatal(err)
				}
			}, nil, exitFailed, "is of the same run",
		},
		"a system that is not there": {
			func(*testing.T, *publishJob) {}, []string{"--system", "x86_64-linux", "--system", "aarch64-linux"}, exitFailed, "no build is of aarch64-linux",
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
			if strings.Contains(stderr, "✔ 2 of 2 packages good") || code != exitDifferent && strings.Contains(stderr, "2 of 2 packages good") {
				t.Errorf("refused packages count as good:\n%s", stderr)
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

// Only the command line chooses the cache and the secret. Others have written the manifests, and what flake they name.
func TestManifestsDoNotChooseTheCache(t *testing.T) {
	t.Parallel()
	j := newPublishJob(t)
	for _, dir := range []string{j.build, j.rebuild} {
		j.replace(t, dir, `"url": "example"`, `"url": "`+defaultProject.Flake+`"`)
	}
	code, _, stderr := j.run(t, j.build, "--against", j.rebuild, "--cachix=")
	if code != exitOK || !strings.Contains(stderr, "no Cachix cache is named") || len(j.writes()) > 0 {
		t.Errorf("exit code %d, writes %v:\n%s", code, j.writes(), stderr)
	}
}
