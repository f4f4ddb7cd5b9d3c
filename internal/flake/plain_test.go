package flake

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// plainDir makes a directory with files, all of the same time in seconds.
func plainDir(t *testing.T, files map[string]string, at int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a # dir")
	writeFiles(t, dir, files)
	tree, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for name := range files {
		for ; ; name = filepath.Dir(name) {
			if err := tree.Chtimes(name, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
				t.Fatal(err)
			}
			if name == "." {
				break
			}
		}
	}
	return dir
}

func TestPlain(t *testing.T) {
	files := map[string]string{"flake.nix": flakeNix, "a/run": "#!x", "a/b/link": "-> ../run", ".hidden": ""}
	dir := plainDir(t, files, 1600000000)
	if err := os.Chtimes(filepath.Join(dir, "a", "run"), time.Time{}, time.Unix(1600000005, 999)); err != nil {
		t.Fatal(err)
	}
	// The link is new, so its time is the newest.
	link, err := os.Lstat(filepath.Join(dir, "a", "b", "link"))
	if err != nil {
		t.Fatal(err)
	}
	const escaped = "a%20%23%20dir"
	ref := "path:" + filepath.Dir(dir) + "/" + escaped
	s := take(t, snapshotter(t, ref, testEnv(t)))
	wantFiles(t, s, files)
	if s.Rev != "" || s.Dirty || s.LastModified != link.ModTime().Unix() || s.URL != ref || s.LockHash != "" {
		t.Errorf("got %+v", s)
	}
	if err := os.Remove(filepath.Join(dir, "a", "b", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "a", "b"), time.Time{}, time.Unix(1600000003, 0)); err != nil {
		t.Fatal(err)
	}
	if s := take(t, snapshotter(t, ref, nil)); s.LastModified != 1600000005 {
		t.Errorf("LastModified is %d", s.LastModified)
	}
	const rev = "0123456789abcdef0123456789abcdef01234567"
	if s := take(t, snapshotter(t, ref+"?lastModified=7&rev="+rev, nil)); s.LastModified != 7 || s.Rev != rev {
		t.Errorf("got %+v", s)
	}
}

// TestPlainOfCheckout has a path: reference to a checkout, which is no checkout then.
func TestPlainOfCheckout(t *testing.T) {
	r := newFlake(t, nil)
	r.write(map[string]string{"untracked": "x"})
	s := take(t, snapshotter(t, "path:"+r.dir, r.env))
	if files := readFiles(t, s.Dir); files["untracked"] != "x" || files[".git/HEAD"] == "" {
		t.Errorf("got %q", files)
	}
	if s.Rev != "" || s.Dirty {
		t.Errorf("got %+v", s)
	}
}

func TestPlainFails(t *testing.T) {
	dir := t.TempDir()
	env := testEnv(t)
	takeFails(t, snapshotter(t, filepath.Join(dir, "missing"), env), "no such file", "")
	takeFails(t, snapshotter(t, "path:"+dir, env), "no flake.nix", "")
	writeFiles(t, dir, map[string]string{"flake.nix": flakeNix, "dir/flake.nix/x": ""})
	takeFails(t, snapshotter(t, "path:"+dir+"?dir=dir", env), "dir/flake.nix is not a file", "")
	takeFails(t, snapshotter(t, dir+"?ref=main", env), "is not a git repository", "")
	takeFails(t, snapshotter(t, "git+file://"+dir, env), "is not a git repository", "")
	takeFails(t, snapshotter(t, dir+"/flake.nix", env), "not a directory", "")

	tk := snapshotter(t, "path:"+dir, env)
	tk.Revision = "main"
	takeFails(t, tk, "has no revisions", "")
	tk = snapshotter(t, "path:"+dir, env)
	tk.Dir = filepath.Join(dir, "within")
	if err := os.Mkdir(tk.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	takeFails(t, tk, "is inside the directory itself", "")

	socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	takeFails(t, snapshotter(t, "path:"+dir, env), filepath.Join(dir, "socket")+" is neither file", "")
}

// The results of a run are not part of the tree: otherwise a run would change what the next one builds.
func TestPlainLeavesOutResults(t *testing.T) {
	files := map[string]string{"flake.nix": flakeNix, "a/b": "", "out-of-date": "x"}
	for name, results := range map[string]string{
		"at the root": "out", "below a directory of their own": "x/y", "in a directory of the flake": "a/results", "hidden": ".results",
	} {
		t.Run(name, func(t *testing.T) {
			dir := plainDir(t, files, 1600000000)
			take := func() (Snapshot, map[string]string) {
				tk := snapshotter(t, "path:"+(&url.URL{Path: dir}).EscapedPath(), nil)
				tk.Results = []string{filepath.Join(dir, results)}
				s := take(t, tk)
				return s, readFiles(t, s.Dir)
			}
			before, _ := take()
			writeFiles(t, filepath.Join(dir, results), map[string]string{"manifest.json": "{}", "logs/run/x.log": "x"})
			after, got := take()
			if before.NARHash != after.NARHash || before.LastModified != after.LastModified {
				t.Errorf("snapshot %+v, and %+v once there are results; its files are %q", before, after, got)
			}
			if len(before.LeftOut) > 0 || !slices.Equal(after.LeftOut, []string{results}) {
				t.Errorf("left out: %q, and then %q", before.LeftOut, after.LeftOut)
			}
			if got["out-of-date"] != "x" {
				t.Errorf("files are %q", got)
			}
		})
	}
}

func TestPlainFindsResultsBehindLinks(t *testing.T) {
	dir := plainDir(t, map[string]string{"flake.nix": flakeNix, "real/x": "x"}, 1600000000)
	links := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(links, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(links, filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	for results, want := range map[string][]string{
		filepath.Join(links, "link"):             {"real"},
		filepath.Join(links, "link", "new", "y"): nil, // which is not there yet
		filepath.Join(dir, "elsewhere"):          nil, // the link is part of the flake, its target is not
	} {
		tk := snapshotter(t, "path:"+(&url.URL{Path: dir}).EscapedPath(), nil)
		tk.Results = []string{results}
		s := take(t, tk)
		if files := readFiles(t, s.Dir); !slices.Equal(s.LeftOut, want) || files["elsewhere"] != "-> "+links {
			t.Errorf("%s: left out %q, want %q; files are %q", results, s.LeftOut, want, files)
		}
	}
}

// The flake itself cannot be left out.
func TestPlainRefusesResultsInTheFlakesDirectory(t *testing.T) {
	dir := plainDir(t, map[string]string{"flake.nix": flakeNix, "sub/flake.nix": flakeNix, "sub/deep/x": ""}, 1600000000)
	ref := "path:" + (&url.URL{Path: dir}).EscapedPath()
	for _, tt := range []struct{ ref, results string }{{ref, dir}, {ref, dir + "/"}, {ref + "?dir=sub", filepath.Join(dir, "sub")}} {
		tk := snapshotter(t, tt.ref, nil)
		tk.Results = []string{tt.results}
		takeFails(t, tk, "is the flake's own directory and cannot be the directory for results", "--out")
	}
	tk := snapshotter(t, ref, nil)
	tk.Results = []string{filepath.Dir(dir)}
	if s := take(t, tk); len(s.LeftOut) > 0 || len(readFiles(t, s.Dir)) != 3 {
		t.Errorf("results around the flake: left out %q", s.LeftOut)
	}
}
