package flake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// versions returns the contents of a file in each commit of the history that changed it, the newest first.
func versions(t *testing.T, tk *Snapshotter, file string) (all []string, complete bool, err error) {
	t.Helper()
	s := take(t, tk)
	before, _ := os.ReadDir(tk.Dir)
	complete, err = tk.History(t.Context(), s, []string{file}, "other", func(commit string, read func(string) ([]byte, error)) (bool, error) {
		data, err := read(file)
		if errors.Is(err, fs.ErrNotExist) {
			data, err = []byte("gone"), nil
		}
		all = append(all, string(data))
		return true, err
	})
	if after, _ := os.ReadDir(tk.Dir); len(after) != len(before) {
		t.Errorf("History leaves %d entries in a directory of %d", len(after), len(before))
	}
	return all, complete, err
}

func wantVersions(t *testing.T, tk *Snapshotter, file string, want ...string) {
	t.Helper()
	got, complete, err := versions(t, tk, file)
	if err != nil || !complete || !slices.Equal(got, want) {
		t.Errorf("versions %q, complete %t, error %v; want %q", got, complete, err, want)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1", "*": "star", "sub/flake.nix": flakeNix, "sub/a": "in sub"})
	for _, text := range []string{"2", "3"} {
		r.write(map[string]string{"a": text})
		r.commit()
		r.write(map[string]string{"other": text})
		r.commit()
	}
	wantVersions(t, snapshotter(t, r.dir, r.env), "a", "3", "2", "1")
	wantVersions(t, snapshotter(t, r.dir, r.env), "*", "star") // no pattern
	wantVersions(t, snapshotter(t, r.dir, r.env), "none")
	wantVersions(t, snapshotter(t, filepath.Join(r.dir, "sub"), r.env), "a", "in sub")

	r.write(map[string]string{"a": "not committed"})
	wantVersions(t, snapshotter(t, r.dir, r.env), "a", "3", "2", "1")
	r.git("checkout", "--quiet", "a")

	tag := snapshotter(t, r.dir, r.env)
	tag.Revision = r.git("rev-parse", "HEAD~2")
	wantVersions(t, tag, "a", "2", "1")

	r.git("rm", "--quiet", "a")
	r.commit()
	wantVersions(t, snapshotter(t, r.dir, r.env), "a", "gone", "3", "2", "1")
}

// The commits of a merged branch count as one change.
func TestMergeIsOneChange(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1"})
	r.git("checkout", "--quiet", "-b", "branch")
	for _, text := range []string{"2", "3"} {
		r.write(map[string]string{"a": text})
		r.commit()
	}
	r.git("checkout", "--quiet", "main")
	r.write(map[string]string{"other": ""})
	r.commit()
	r.git("merge", "--quiet", "--no-ff", "--no-edit", "branch")
	wantVersions(t, snapshotter(t, r.dir, r.env), "a", "3", "1")
}

func TestHistoryStops(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1"})
	for i := range 5 {
		r.write(map[string]string{"a": fmt.Sprint("new ", i)})
		r.commit()
	}
	tk := snapshotter(t, r.dir, r.env)
	s := take(t, tk)
	visited := 0
	visit := func(string, func(string) ([]byte, error)) (bool, error) { visited++; return visited < 3, nil }
	if complete, err := tk.History(t.Context(), s, []string{"a"}, "other", visit); err != nil || !complete || visited != 3 {
		t.Errorf("visited %d, complete %t, error %v", visited, complete, err)
	}
	broken := errors.New("broken")
	_, err := tk.History(t.Context(), s, []string{"a"}, "other", func(string, func(string) ([]byte, error)) (bool, error) { return true, broken })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the visit", err)
	}
}

func TestMissingHistory(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1"})
	r.write(map[string]string{"a": "2"})
	r.commit()
	shallow := filepath.Join(t.TempDir(), "shallow")
	r.git("clone", "--quiet", "--depth=1", "file://"+r.dir, shallow)
	got, complete, err := versions(t, snapshotter(t, shallow, r.env), "a")
	if !slices.Equal(got, []string{"2"}) || complete || err == nil || !strings.HasSuffix(err.Error(), "the clone is shallow") ||
		!strings.Contains(strings.Join(hint.Of(err), " "), "fetch-depth: 0") {
		t.Errorf("shallow: versions %q, complete %t, error %v, hints %q", got, complete, err, hint.Of(err))
	}

	plain := t.TempDir()
	writeFiles(t, plain, map[string]string{"flake.nix": flakeNix, "a": "1"})
	for ref, want := range map[string]string{
		plain:                   "it is not a git repository",
		"path:" + r.dir:         "a path: reference has no history",
		"git+file://" + r.dir:   "",
		"git+file://" + shallow: "the clone is shallow",
	} {
		_, complete, err := versions(t, snapshotter(t, ref, r.env), "a")
		if complete != (want == "") || (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: complete %t, error %v, want %q", ref, complete, err, want)
		}
	}
}

// The configuration of a checkout starts no program, and does not change the history.
func TestHistoryIgnoresTheConfigurationOfTheCheckout(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1", ".gitattributes": "* diff=evil filter=evil\n"})
	r.write(map[string]string{"a": "2"})
	r.commit()
	tk := snapshotter(t, r.dir, r.env)
	s := take(t, tk)
	trap := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "evil")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >>"+trap+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, config := range [][2]string{
		{"core.fsmonitor", program},
		{"core.pager", program},
		{"pager.log", program},
		{"diff.external", program},
		{"diff.evil.textconv", program},
		{"diff.evil.command", program},
		{"filter.evil.smudge", program},
		{"gpg.program", program},
		{"log.showSignature", "true"},
		{"core.sshCommand", program},
		{"alias.log", "!" + program},
		{"log.follow", "true"},
		{"log.diffMerges", "on"},
		{"core.hooksPath", filepath.Dir(program)},
	} {
		r.git("config", config[0], config[1])
	}
	var got []string
	complete, err := tk.History(t.Context(), s, []string{"a"}, "other", func(_ string, read func(string) ([]byte, error)) (bool, error) {
		data, err := read("a")
		got = append(got, string(data))
		return true, err
	})
	if err != nil || !complete || !slices.Equal(got, []string{"2", "1"}) {
		t.Errorf("versions %q, complete %t, error %v", got, complete, err)
	}
	if mark, err := os.ReadFile(trap); err == nil {
		t.Errorf("a program of the checkout was run:\n%s", mark)
	}
}

// The program visits a limited number of commits, however long the history is.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	r := newFlake(t, nil)
	var stream strings.Builder
	for i := range maxCommits + 10 {
		fmt.Fprintf(&stream, "commit refs/heads/long\ncommitter C <c@example.org> %d +0000\ndata 1\nx\n", commitTime+i)
		text := fmt.Sprintf("v%d", i)
		fmt.Fprintf(&stream, "M 100644 inline a\ndata %d\n%s\nM 100644 inline flake.nix\ndata %d\n%s\n", len(text), text, len(flakeNix), flakeNix)
	}
	file := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(file, []byte(stream.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	r.git("config", "alias.import", "!git fast-import --quiet <"+file)
	r.git("import")
	r.git("checkout", "--quiet", "long")
	tk := snapshotter(t, r.dir, r.env)
	s := take(t, tk)
	visited := 0
	complete, err := tk.History(t.Context(), s, []string{"a"}, "other", func(string, func(string) ([]byte, error)) (bool, error) { visited++; return true, nil })
	if complete || err != nil || visited != maxCommits {
		t.Errorf("visited %d of %d, complete %t, error %v", visited, maxCommits+10, complete, err)
	}
}

// The history of a remote is fetched without its files, and then the files that are read.
func TestHistoryOfARemote(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1", "other": "first", "more": "unread"})
	r.write(map[string]string{"a": "2", "other": "second"})
	r.commit()
	r.write(map[string]string{"other": "third", "more": "still"})
	r.commit()
	for name, test := range map[string]struct {
		config [][2]string
		want   []string // versions of a, each with the other file
	}{
		"partial":  {[][2]string{{"uploadpack.allowFilter", "true"}, {"uploadpack.allowAnySHA1InWant", "true"}}, []string{"2 second", "1 first"}},
		"complete": {nil, []string{"2 second", "1 first"}},
	} {
		t.Run(name, func(t *testing.T) {
			bare := filepath.Join(t.TempDir(), "r.git")
			r := repo{t, r.dir, r.env}
			r.git("clone", "--quiet", "--bare", r.dir, bare)
			for _, c := range test.config {
				r.git("--git-dir="+bare, "config", c[0], c[1])
			}
			tk := snapshotter(t, "git+https://user:s3cret@example.org/h/r", nil)
			tk.Env = append(slices.Clone(r.env), "GIT_CONFIG_KEY_0=url.file://"+bare+".insteadOf", "GIT_CONFIG_VALUE_0="+tk.Ref.CloneURL())
			s := take(t, tk)
			var got []string
			complete, err := tk.History(t.Context(), s, []string{"a"}, "other", func(_ string, read func(string) ([]byte, error)) (bool, error) {
				a, err := read("a")
				other, errB := read("other")
				got = append(got, string(a)+" "+string(other))
				wantNoSecret(t, tk.Dir)
				return true, errors.Join(err, errB)
			})
			if err != nil || !complete || !slices.Equal(got, test.want) {
				t.Errorf("versions %q, complete %t, error %v, hints %q", got, complete, err, hint.Of(err))
			}
		})
	}
}

// wantNoSecret looks into all files of a directory for a password.
func wantNoSecret(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), "s3cret") {
			t.Errorf("%s holds the password", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestHistoryOfAMissingRemote(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a": "1"})
	bare := filepath.Join(t.TempDir(), "r.git")
	r.git("clone", "--quiet", "--bare", r.dir, bare)
	tk := snapshotter(t, "git+https://user:s3cret@example.org/h/r", nil)
	tk.Env = append(slices.Clone(r.env), "GIT_CONFIG_KEY_0=url.file://"+bare+".insteadOf", "GIT_CONFIG_VALUE_0="+tk.Ref.CloneURL())
	s := take(t, tk)
	if err := os.RemoveAll(bare); err != nil {
		t.Fatal(err)
	}
	visit := func(string, func(string) ([]byte, error)) (bool, error) { t.Error("visited"); return false, nil }
	complete, err := tk.History(t.Context(), s, []string{"a"}, "other", visit)
	if complete || err == nil || strings.Contains(err.Error()+strings.Join(hint.Of(err), ""), "s3cret") {
		t.Errorf("complete %t, error %v", complete, err)
	}
}
