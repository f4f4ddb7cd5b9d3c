package flake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommit(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"flake.nix": flakeNix, "flake.lock": "{}", "a b/ü\n'\"\\": "x", "run": "#!/bin/sh\n", "link": "-> /nowhere", "dir/up": "-> ../..",
		strings.Repeat("long/", 50) + "file": "pax", "empty": "",
	}
	r := newFlake(t, files)
	r.git("update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,sub")
	r.git("commit", "--quiet", "--message=sub")
	rev := r.git("rev-parse", "HEAD")
	r.write(map[string]string{"untracked": "", "more/untracked": ""})

	s := take(t, snapshotter(t, r.dir, r.env))
	files["sub"] = "/"
	wantFiles(t, s, files)
	if s.Rev != rev || s.Dirty || s.Subdir != "" || s.LastModified != commitTime {
		t.Errorf("got %+v", s)
	}
	if want := "git+file://" + r.dir + "?rev=" + rev; s.URL != want {
		t.Errorf("URL is %s, want %s", s.URL, want)
	}
	if want := []string{"more/", "untracked"}; !slices.Equal(s.Untracked, want) {
		t.Errorf("Untracked is %q, want %q", s.Untracked, want)
	}
	if want := "sha256-RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="; s.LockHash != want {
		t.Errorf("LockHash is %s, want %s", s.LockHash, want)
	}
}

// TestConfigurationDoesNotChangeTheTree sets all configuration of this machine that git archive reads.
func TestConfigurationDoesNotChangeTheTree(t *testing.T) {
	r := newFlake(t, map[string]string{
		".gitattributes": "secret export-ignore\nsubst export-subst\n*.crlf text eol=crlf\n*.lfs filter=lfs\n*.up filter=up\n",
		"secret":         "x", "subst": "$Format:%H$", "a.crlf": "a\nb\n", "x.lfs": "version https://git-lfs…\n", "x.up": "abc\n",
		"text": "one\ntwo\n",
	})
	rev := r.git("rev-parse", "HEAD")
	want := map[string]string{
		".gitattributes": readFile(t, r.dir, ".gitattributes"), "flake.nix": flakeNix, "subst": rev, "a.crlf": "a\r\nb\r\n",
		"x.lfs": "version https://git-lfs…\n", "x.up": "abc\n", "text": "one\ntwo\n",
	}
	before := take(t, snapshotter(t, r.dir, r.env))
	wantFiles(t, before, want)

	writeFiles(t, r.dir, map[string]string{".git/info/attributes": "text export-ignore\n*.nix ident -text\n"})
	for _, config := range []string{"core.autocrlf true", "core.eol crlf", "filter.up.smudge tr a-z A-Z", "filter.lfs.smudge false", "filter.lfs.required true", "tar.umask 0777"} {
		name, value, _ := strings.Cut(config, " ")
		r.git("config", name, value)
	}
	// The working tree now looks changed to git, so the commit is named.
	tk := snapshotter(t, r.dir, append(slices.Clone(r.env), "GIT_DIR=/nowhere", "GIT_INDEX_FILE=/nowhere"))
	tk.Revision = "HEAD"
	after := take(t, tk)
	wantFiles(t, after, want)
	if after.NARHash != before.NARHash {
		t.Errorf("NAR hash is %s, then %s", before.NARHash, after.NARHash)
	}
}

func TestDirty(t *testing.T) {
	t.Parallel()
	files := map[string]string{"kept": "1", "changed": "1", "deleted": "1", "dir/a": "1", "moved/a": "1", "wasfile": "1", "ünï": "1"}
	changes := map[string]func(r repo){
		"changed":       func(r repo) { r.write(map[string]string{"changed": "2"}) },
		"deleted":       func(r repo) { os.Remove(filepath.Join(r.dir, "deleted")) },
		"added":         func(r repo) { r.write(map[string]string{"added": "1"}); r.git("add", "added") },
		"intent to add": func(r repo) { r.write(map[string]string{"added": "1"}); r.git("add", "--intent-to-add", "added") },
		"executable":    func(r repo) { os.Remove(filepath.Join(r.dir, "changed")); r.write(map[string]string{"changed": "#!"}) },
		"replaced": func(r repo) {
			os.RemoveAll(filepath.Join(r.dir, "moved"))
			os.RemoveAll(filepath.Join(r.dir, "wasfile"))
			r.write(map[string]string{"moved": "-> dir", "wasfile/untracked": "x"})
		},
	}
	want := map[string]map[string]string{
		"changed":       {"changed": "2"},
		"deleted":       {"deleted": ""},
		"added":         {"added": "1"},
		"intent to add": {"added": "1"},
		"executable":    {"changed": "#!"},
		"replaced":      {"moved/a": "", "wasfile": ""},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			r := newFlake(t, files)
			r.git("remote", "add", "origin", "https://github.com/o/r")
			change(r)
			r.write(map[string]string{"untracked": "x"})
			s := take(t, snapshotter(t, r.dir, r.env))
			if !s.Dirty || s.Rev != "" || s.LastModified != commitTime || s.URL != "git+file://"+r.dir {
				t.Errorf("got %+v", s)
			}
			tree := maps.Clone(files)
			tree["flake.nix"] = flakeNix
			for name, content := range want[name] {
				if tree[name] = content; content == "" {
					delete(tree, name)
				}
			}
			wantFiles(t, s, tree)
		})
	}
}

func TestNotDirty(t *testing.T) {
	r := newFlake(t, map[string]string{"a": "1"})
	// Written again with another time: the index is out of date, the content is not.
	r.write(map[string]string{"a": "1"})
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(r.dir, "a"), later, later); err != nil {
		t.Fatal(err)
	}
	if s := take(t, snapshotter(t, r.dir, r.env)); s.Dirty {
		t.Error("is dirty")
	}
	// With a revision given, changes do not matter.
	r.write(map[string]string{"a": "2"})
	tk := snapshotter(t, r.dir, r.env)
	tk.Revision = "main"
	s := take(t, tk)
	wantFiles(t, s, map[string]string{"flake.nix": flakeNix, "a": "1"})
	if s.Dirty || s.Rev == "" || s.Untracked != nil {
		t.Errorf("got %+v", s)
	}
}

// TestLFSIsNotDirty has a working tree with the contents of files whose pointers are committed.
func TestLFSIsNotDirty(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("contents"))
	pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize 8\n", sum)
	files := map[string]string{"a.lfs": pointer, "b": "1", ".gitattributes": "*.lfs filter=lfs diff=lfs merge=lfs -text\n"}
	for name, tt := range map[string]struct {
		change map[string]string
		dirty  bool
	}{
		"checked out":         {map[string]string{"a.lfs": "contents"}, false},
		"changed":             {map[string]string{"a.lfs": "CONTENTS"}, true},
		"longer":              {map[string]string{"a.lfs": "contents\n"}, true},
		"executable":          {map[string]string{"a.lfs": "#!"}, true},
		"another file":        {map[string]string{"a.lfs": "contents", "b": "2"}, true},
		"another file before": {map[string]string{"a.lfs": "contents", ".gitattributes": "x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newFlake(t, files)
			for name := range tt.change {
				os.Remove(filepath.Join(r.dir, name))
			}
			r.write(tt.change)
			s := take(t, snapshotter(t, r.dir, r.env))
			if s.Dirty != tt.dirty {
				t.Errorf("dirty is %t, want %t", s.Dirty, tt.dirty)
			}
			if !tt.dirty && readFiles(t, s.Dir)["a.lfs"] != pointer {
				t.Error("the snapshot does not have the pointer")
			}
		})
	}
}

func TestNoCommits(t *testing.T) {
	r := newRepo(t, "new")
	r.write(map[string]string{"flake.nix": flakeNix})
	takeFails(t, snapshotter(t, r.dir, r.env), "no flake.nix", "git -C '"+r.dir+"' add flake.nix")
	r.git("add", "flake.nix")
	s := take(t, snapshotter(t, r.dir, r.env))
	if !s.Dirty || s.Rev != "" || s.LastModified != 0 {
		t.Errorf("got %+v", s)
	}
}

// A repository with lost objects must not look like one with changes, or like one without commits.
func TestLostObjects(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"commit", "tree", "blob"} {
		t.Run(kind, func(t *testing.T) {
			r := newFlake(t, map[string]string{"a": "1"})
			object := r.git("rev-parse", map[string]string{"commit": "HEAD", "tree": "HEAD^{tree}", "blob": "HEAD:a"}[kind])
			if err := os.Remove(filepath.Join(r.dir, ".git", "objects", object[:2], object[2:])); err != nil {
				t.Fatal(err)
			}
			if s, err := snapshotter(t, r.dir, r.env).Snapshot(t.Context()); err == nil {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestNoFlake(t *testing.T) {
	t.Parallel()
	r := newRepo(t, "new")
	r.write(map[string]string{"a/b": "", "sub/flake.nix": flakeNix})
	r.git("add", "a")
	r.git("commit", "--quiet", "--message=x")
	takeFails(t, snapshotter(t, r.dir, r.env), "take snapshot of "+r.dir+": no flake.nix", "?dir=")
	takeFails(t, snapshotter(t, r.dir+"?dir=sub", r.env), "no sub/flake.nix", "git -C '"+r.dir+"/sub' add flake.nix")
	takeFails(t, snapshotter(t, r.dir+"/sub", r.env), "no sub/flake.nix", "git -C '"+r.dir+"/sub' add flake.nix")
	r.commit()
	tk := snapshotter(t, r.dir+"/sub", r.env)
	tk.Revision = "HEAD^"
	takeFails(t, tk, "no sub/flake.nix", "came later")
}

func TestSubdir(t *testing.T) {
	r := newFlake(t, map[string]string{"sub/flake.nix": flakeNix, "sub/deep/er/x": "", "other/x": ""})
	rev := r.git("rev-parse", "HEAD")
	r.git("remote", "add", "origin", "git@github.com:o/r.git")
	link := filepath.Join(t.TempDir(), "link to it")
	if err := os.Symlink(r.dir, link); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		r.dir + "/sub": "sub", r.dir + "/sub/deep/er": "sub", r.dir + "/other": "", r.dir: "", r.dir + "?dir=sub": "sub", link + "/sub": "sub",
		"git+file://" + r.dir + "?dir=sub": "sub",
	} {
		s := take(t, snapshotter(t, ref, r.env))
		url := "github:o/r/" + rev
		if want != "" {
			url += "?dir=" + want
		}
		if s.Subdir != want || s.URL != url {
			t.Errorf("%s: subdir %q, URL %s", ref, s.Subdir, s.URL)
		}
		if _, err := os.Stat(filepath.Join(s.Dir, "other", "x")); err != nil {
			t.Error(err)
		}
	}
}

func TestRevisions(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"n": "1"})
	first := r.git("rev-parse", "HEAD")
	r.git("tag", "--annotate", "--message=x", "v1.0.0")
	r.git("branch", "old")
	r.git("update-ref", "refs/remotes/origin/theirs", first)
	r.write(map[string]string{"n": "2"})
	second := r.commit()
	bare := filepath.Join(t.TempDir(), "bare.git")
	r.git("clone", "--quiet", "--bare", r.dir, bare)
	r.write(map[string]string{"n": "dirty"})

	for _, tt := range []struct{ ref, revision, want string }{
		{r.dir, "v1.0.0", first},
		{r.dir, "old", first},
		{r.dir, "theirs", first},
		{r.dir, first[:8], first},
		{r.dir, second, second},
		{r.dir + "?ref=old", "", first},
		{r.dir + "?ref=old", "main", second},
		{r.dir + "?ref=main&rev=" + first, "", first},
		{"git+file://" + r.dir + "?ref=refs/tags/v1.0.0", "", first},
		{bare, "", second},
		{bare, "v1.0.0", first},
		{"file://" + bare, "", second},
	} {
		tk := snapshotter(t, tt.ref, r.env)
		tk.Revision = tt.revision
		if s := take(t, tk); s.Rev != tt.want || s.Dirty {
			t.Errorf("%s at %q: got %+v, want %s", tt.ref, tt.revision, s, tt.want)
		}
	}
	for _, tt := range []struct{ revision, text, advice string }{
		{"1.0.0", `no tag, branch or commit "1.0.0"`, "did you mean v1.0.0?"},
		{"--help", `no tag, branch or commit "--help"`, "git fetch"},
		{strings.Repeat("0", 40), "no tag, branch or commit", "git fetch"},
		{"HEAD:n", "no tag, branch or commit", ""},
	} {
		tk := snapshotter(t, r.dir, r.env)
		tk.Revision = tt.revision
		takeFails(t, tk, tt.text, tt.advice)
	}
}

func TestKindsOfCheckouts(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"n": "1", "ü ö/x": "y"})
	r.write(map[string]string{"n": "2"})
	rev := r.commit()
	want := take(t, snapshotter(t, r.dir, r.env))
	parent := t.TempDir()
	for name, command := range map[string][]string{
		"worktree":     {"worktree", "add", "--quiet", "--detach"},
		"a worktree ü": {"worktree", "add", "--quiet", "--detach"},
		"with:colon":   {"clone", "--quiet", r.dir},
		`"quoted"`:     {"clone", "--quiet", r.dir},
		"shallow":      {"clone", "--quiet", "--depth=1", "file://" + r.dir},
		"borrowing":    {"clone", "--quiet", "--shared", r.dir},
		"separate":     {"clone", "--quiet", "--separate-git-dir=" + filepath.Join(parent, "elsewhere"), r.dir},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(parent, name)
			r.git(append(command, dir)...)
			s := take(t, snapshotter(t, dir, r.env))
			if s.Rev != rev || s.NARHash != want.NARHash || s.Dirty {
				t.Errorf("got %+v, want %+v", s, want)
			}
		})
	}
}

func TestPartialClone(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"a/x": "1", "b/x": "2"})
	r.git("config", "uploadpack.allowFilter", "true")
	dir := filepath.Join(t.TempDir(), "sparse")
	r.git("clone", "--quiet", "--filter=blob:none", "--sparse", "file://"+r.dir, dir)
	takeFails(t, snapshotter(t, dir, r.env), "git archive: ", "git fetch --refetch --no-filter")
	repo{t, dir, r.env}.git("fetch", "--quiet", "--refetch", "--no-filter")
	wantFiles(t, take(t, snapshotter(t, dir, r.env)), map[string]string{"flake.nix": flakeNix, "a/x": "1", "b/x": "2"})
}

func TestBrokenGitDir(t *testing.T) {
	r := newFlake(t, map[string]string{"sub/flake.nix": flakeNix})
	if err := os.Mkdir(filepath.Join(r.dir, "sub", ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	takeFails(t, snapshotter(t, r.dir+"/sub", r.env), "not a git repository", "")
}

func TestURLHasNoCredentials(t *testing.T) {
	t.Parallel()
	r := newFlake(t, nil)
	rev := r.git("rev-parse", "HEAD")
	r.git("remote", "add", "origin", "x")
	for remote, want := range map[string]string{
		"https://x-access-token:s3cret@github.com/o/r.git": "github:o/r/" + rev,
		"https://s3cret@gitlab.com/g/s/r":                  "gitlab:g%2Fs/r/" + rev,
		"https://oauth2:s3cret@git.example.org/o/r.git":    "git+https://git.example.org/o/r.git?rev=" + rev,
		"git@git.example.org:o/r.git":                      "git+ssh://git@git.example.org/o/r.git?rev=" + rev,
		"/somewhere/else":                                  "git+file://" + r.dir + "?rev=" + rev,
	} {
		r.git("remote", "set-url", "origin", remote)
		if s := take(t, snapshotter(t, r.dir, r.env)); s.URL != want {
			t.Errorf("%s: URL is %s, want %s", remote, s.URL, want)
		}
	}
}

func TestNARHashIsChecked(t *testing.T) {
	t.Parallel()
	r := newFlake(t, nil)
	s := take(t, snapshotter(t, r.dir, r.env))
	const wrong = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	takeFails(t, snapshotter(t, "git+file://"+r.dir+"?narHash="+wrong, r.env), "NAR hash is "+s.NARHash, "")
	take(t, snapshotter(t, "git+file://"+r.dir+"?narHash="+s.NARHash, r.env))
}

func TestNoGit(t *testing.T) {
	r := newFlake(t, nil)
	tk := snapshotter(t, r.dir, r.env)
	tk.gitProgram = filepath.Join(t.TempDir(), "git")
	takeFails(t, tk, "run git", "install git")
}

func TestDir(t *testing.T) {
	r := newFlake(t, nil)
	tk := snapshotter(t, r.dir, r.env)
	t.Chdir(filepath.Dir(tk.Dir))
	tk.Dir = filepath.Base(tk.Dir)
	if s := take(t, tk); !filepath.IsAbs(s.Dir) {
		t.Errorf("Dir is %s", s.Dir)
	}
	tk.Dir = ""
	if _, err := tk.Snapshot(t.Context()); err == nil {
		t.Error("no error without a directory")
	}
}

// TestCancel has a git that never ends, and a child of it that holds its output open.
func TestCancel(t *testing.T) {
	t.Parallel()
	r := newFlake(t, nil)
	tk := snapshotter(t, r.dir, r.env)
	tk.gitProgram = filepath.Join(t.TempDir(), "git")
	pids := filepath.Join(t.TempDir(), "pid")
	writeFiles(t, filepath.Dir(tk.gitProgram), map[string]string{"git": "#!/bin/sh\nsleep 600 & echo $! > " + pids + "; wait\n"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := tk.Snapshot(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > grace {
		t.Errorf("took %v", d)
	}
	if left, _ := os.ReadDir(tk.Dir); len(left) != 0 {
		t.Errorf("left in Dir: %v", left)
	}
	pid, _ := os.ReadFile(pids)
	if state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat"); err == nil && !strings.Contains(string(state), ") Z ") {
		t.Errorf("still running: %s", state)
	}
}
