package flake

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// commitTime is the time of the commits that tests make.
const commitTime = 1700000000

// testEnv is an environment in which git knows no configuration of the machine's.
func testEnv(t *testing.T) []string {
	t.Helper()
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.org",
		fmt.Sprintf("GIT_AUTHOR_DATE=%d +0000", commitTime), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0000", commitTime),
		// Tests alone have submodules with local URLs.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
	}
}

// repo is a repository made by a test.
type repo struct {
	t   *testing.T
	dir string
	env []string
}

// newRepo makes a checkout without commits in a directory of this name.
func newRepo(t *testing.T, name string) repo {
	t.Helper()
	r := repo{t, filepath.Join(t.TempDir(), name), testEnv(t)}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

// newFlake makes a checkout with the files and flake.nix committed.
func newFlake(t *testing.T, files map[string]string) repo {
	t.Helper()
	r := newRepo(t, "flake")
	r.write(map[string]string{"flake.nix": "{ outputs = _: { }; }\n"})
	r.write(files)
	r.commit()
	return r
}

func (r repo) git(args ...string) string {
	r.t.Helper()
	// Maintenance would go on behind a fetch, and write into a directory that the test is about to remove.
	cmd := exec.Command("git", append([]string{"-c", "maintenance.auto=false"}, args...)...)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) write(files map[string]string) { writeFiles(r.t, r.dir, files) }

// commit commits everything and returns the commit's hash.
func (r repo) commit() string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message=x")
	return r.git("rev-parse", "HEAD")
}

// writeFiles writes files by name. A content that begins with "-> " is the target of a symbolic link, and one with "#!" is executable.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// readFile reads a file of a working tree, whose modes are of this process's umask.
func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// readFiles is the reverse of writeFiles; an empty directory has the content "/".
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch entry.Type() {
		case fs.ModeDir:
			if entries, _ := os.ReadDir(name); len(entries) == 0 {
				files[rel] = "/"
			}
		case fs.ModeSymlink:
			target, _ := os.Readlink(name)
			files[rel] = "-> " + target
		default:
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			info, _ := entry.Info()
			if executable := info.Mode().Perm() == 0o755; executable != strings.HasPrefix(string(content), "#!") {
				t.Errorf("%s has mode %v", rel, info.Mode())
			}
			files[rel] = string(content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// snapshotter returns a Snapshotter of a reference.
func snapshotter(t *testing.T, ref string, env []string) *Snapshotter {
	t.Helper()
	parsed, err := ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	return &Snapshotter{Ref: parsed, Dir: t.TempDir(), Env: env}
}

// take takes a snapshot and checks the properties of all snapshots.
func take(t *testing.T, tk *Snapshotter) Snapshot {
	t.Helper()
	s, err := tk.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("%v (hints: %q)", err, hint.Of(err))
	}
	err = filepath.WalkDir(s.Dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && !info.ModTime().Equal(s.ModTime()) {
			t.Errorf("%s has the time %v, want %v", name, info.ModTime(), s.ModTime())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tk.Dir); len(left) != 1 {
		t.Errorf("left in Dir: %v", left)
	}
	return s
}

// takeFails takes a snapshot that must fail with a text in its error, and one in its hints.
func takeFails(t *testing.T, tk *Snapshotter, text, advice string) {
	t.Helper()
	_, err := tk.Snapshot(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), text) || !strings.HasPrefix(err.Error(), "take snapshot of ") {
		t.Errorf("error %q, want %q", err, text)
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, advice) {
		t.Errorf("hints %q, want %q", hints, advice)
	}
	if left, _ := os.ReadDir(tk.Dir); len(left) != 0 {
		t.Errorf("left in Dir: %v", left)
	}
}

func wantFiles(t *testing.T, s Snapshot, want map[string]string) {
	t.Helper()
	got := readFiles(t, s.Dir)
	for name := range maps.Keys(want) {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s (%q) should not be there", name, got[name])
		}
	}
}

const flakeNix = "{ outputs = _: { }; }\n"
