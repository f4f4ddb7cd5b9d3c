package flake

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nested makes a flake with a submodule that has a submodule, and returns the files of its tree.
func nested(t *testing.T) (repo, map[string]string) {
	inner := newRepo(t, "inner")
	inner.write(map[string]string{"i": "1"})
	inner.commit()
	outer := newRepo(t, "outer")
	outer.write(map[string]string{"o": "1", "ignored": "x", ".gitattributes": "ignored export-ignore\n"})
	outer.commit()
	outer.git("submodule", "--quiet", "add", "--name", "a name", "file://"+inner.dir, "deep/inner")
	outer.commit()
	r := newFlake(t, map[string]string{"n": "1"})
	r.git("submodule", "--quiet", "add", outer.dir, "sub mod")
	r.git("submodule", "--quiet", "update", "--init", "--recursive")
	r.commit()
	files := map[string]string{
		"flake.nix": flakeNix, "n": "1", "sub mod/o": "1", "sub mod/ignored": "x", "sub mod/.gitattributes": "ignored export-ignore\n",
		"sub mod/deep/inner/i": "1",
	}
	files[".gitmodules"] = readFile(t, r.dir, ".gitmodules")
	files["sub mod/.gitmodules"] = readFile(t, r.dir, "sub mod/.gitmodules")
	return r, files
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	r, want := nested(t)
	r.git("remote", "add", "origin", "https://github.com/o/r")
	rev := r.git("rev-parse", "HEAD")

	s := take(t, snapshotter(t, r.dir+"?submodules=1", r.env))
	wantFiles(t, s, want)
	if url := "git+https://github.com/o/r.git?rev=" + rev + "&submodules=1"; s.URL != url || s.Dirty {
		t.Errorf("URL is %s, want %s", s.URL, url)
	}
	without := map[string]string{"flake.nix": flakeNix, "n": "1", ".gitmodules": want[".gitmodules"], "sub mod": "/"}
	wantFiles(t, take(t, snapshotter(t, r.dir, r.env)), without)

	t.Run("not initialised", func(t *testing.T) {
		clone := filepath.Join(t.TempDir(), "clone")
		r.git("clone", "--quiet", r.dir, clone)
		if got := take(t, snapshotter(t, clone+"?submodules=1", r.env)); got.NARHash != s.NARHash {
			wantFiles(t, got, want)
		}
		env := slices.DeleteFunc(slices.Clone(r.env), func(v string) bool { return strings.HasPrefix(v, "GIT_CONFIG_") })
		takeFails(t, snapshotter(t, clone+"?submodules=1", env), "transport 'file' not allowed", "")
	})
	t.Run("remote", func(t *testing.T) {
		url := server(t, filepath.Dir(r.dir), "").URL + "/" + filepath.Base(r.dir) + "/.git"
		if got := take(t, snapshotter(t, url+"?submodules=1", r.env)); got.NARHash != s.NARHash {
			wantFiles(t, got, want)
		}
	})
	t.Run("dirty", func(t *testing.T) {
		writeFiles(t, r.dir, map[string]string{"sub mod/deep/inner/i": "2", "sub mod/untracked": "x"})
		if s := take(t, snapshotter(t, r.dir, r.env)); s.Dirty {
			t.Error("is dirty without its submodules")
		}
		s := take(t, snapshotter(t, r.dir+"?submodules=1", r.env))
		changed := maps.Clone(want)
		changed["sub mod/deep/inner/i"] = "2"
		wantFiles(t, s, changed)
		if !s.Dirty {
			t.Error("is not dirty")
		}
		writeFiles(t, r.dir, map[string]string{"n": "2"})
		without["n"] = "2"
		wantFiles(t, take(t, snapshotter(t, r.dir, r.env)), without)
	})
}

func TestHostileSubmodules(t *testing.T) {
	t.Parallel()
	r := newFlake(t, nil)
	for _, tt := range []struct{ gitmodules, want string }{
		{"[submodule \"../../x\"]\npath = sub\nurl = https://h/x\n", `name "../../x"`},
		{"[submodule \"x\"]\npath = sub\nurl = --upload-pack=x\n", "its URL is not allowed"},
		{"[submodule \"x\"]\npath = sub\nurl = ext::sh -c x\n", "transport 'ext' not allowed"},
		{"[submodule \"x\"]\npath = other\nurl = https://h/x\n", "not in .gitmodules"},
		{"[submodule \"x\"]\npath = sub\nurl = " + r.dir + "\n", "no tag, branch or commit"},
	} {
		r.write(map[string]string{".gitmodules": tt.gitmodules})
		r.git("add", ".gitmodules")
		r.git("update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,sub")
		r.git("commit", "--quiet", "--message=x")
		takeFails(t, snapshotter(t, "git+file://"+r.dir+"?submodules=1&ref=main", r.env), tt.want, "")
	}
}

func TestRelativeURL(t *testing.T) {
	for _, tt := range []struct{ base, rel, want string }{
		{"https://h/o/r.git", "../s.git", "https://h/o/s.git"},
		{"https://u:p@h/o/r.git/", "./s", "https://u:p@h/o/r.git/s"},
		{"https://h/o/r", "../../../../s", "https://h/s"},
		{"git@h:o/r.git", "../s.git", "git@h:o/s.git"},
		{"git@h:o/r.git", "../../s.git", "git@h:s.git"},
		{"/srv/r.git", "../s.git", "/srv/s.git"},
		{"file:///srv/r.git", "../s.git", "file:///srv/s.git"},
		{"https://h/o/r", "https://else/s", "https://else/s"},
	} {
		if got, err := relativeURL(tt.base, tt.rel); err != nil || got != tt.want {
			t.Errorf("relativeURL(%q, %q) = %q, %v; want %q", tt.base, tt.rel, got, err, tt.want)
		}
	}
	if got, err := relativeURL("git@h:o/r", "../../../s"); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}
