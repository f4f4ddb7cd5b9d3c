package regular

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// uses has all operations on a file "file" of a directory.
var uses = map[string]func(*Dir) error{
	"open":    func(d *Dir) error { f, err := d.OpenRegular("file"); _ = f.Close(); return err },
	"read":    func(d *Dir) error { _, err := d.Read("file", 100); return err },
	"create":  func(d *Dir) error { f, err := d.CreateNew("file"); _ = f.Close(); return err },
	"write":   func(d *Dir) error { return d.Write("file", []byte("new")) },
	"new":     func(d *Dir) error { return d.WriteNew("new", nil) },
	"rename":  func(d *Dir) error { return d.Rename("file", "other") },
	"link":    func(d *Dir) error { return d.Link("file", "other") },
	"temp":    func(d *Dir) error { _, err := d.MakeTemp("work-"); return err },
	"stat":    func(d *Dir) error { _, err := d.Stat("file"); return err },
	"list":    func(d *Dir) error { _, err := d.List(); return err },
	"lock":    func(d *Dir) error { f, err := d.OpenItself(); _ = f.Close(); return err },
	"make":    func(d *Dir) error { return d.Make() },
	"remove":  func(d *Dir) error { return d.Remove("file") },
	"removes": func(d *Dir) error { return d.RemoveAll("file") },
}

// No operation on a directory of results follows a link: below the directory, in its place, or in its relative name.
func TestDirFollowsNoLinks(t *testing.T) {
	for name, use := range uses {
		for _, leads := range []string{"below", "itself", "relative"} {
			t.Run(name+" "+leads, func(t *testing.T) {
				base := t.TempDir()
				t.Chdir(base)
				victim := filepath.Join(base, "victim")
				writeFile(t, filepath.Join(victim, "sub", "file"), "precious")
				var d *Dir
				switch leads {
				case "below":
					writeFile(t, "out/other", "")
					link(t, "../victim/sub", "out/sub")
					d = NewDir(filepath.Join(base, "out")).Sub("sub")
				case "itself":
					link(t, "victim/sub", "out")
					d = NewDir(filepath.Join(base, "out"))
				case "relative":
					link(t, "victim", "out")
					d = NewDir("out/sub")
				}
				if err := use(d); !errors.Is(err, ErrLink) {
					t.Errorf("%v, want %v", err, ErrLink)
				}
				if entries, err := os.ReadDir(filepath.Join(victim, "sub")); err != nil || len(entries) != 1 {
					t.Errorf("where the link leads to, there is %v, %v", entries, err)
				}
				if data, err := os.ReadFile(filepath.Join(victim, "sub", "file")); err != nil || string(data) != "precious" {
					t.Errorf("the file has %q, %v", data, err)
				}
			})
		}
	}
}

// A link in place of a file is not read. A new file replaces it.
func TestDirReplacesLinks(t *testing.T) {
	base := t.TempDir()
	victim := filepath.Join(base, "victim")
	writeFile(t, victim, "precious")
	d := NewDir(filepath.Join(base, "out"))
	for _, way := range []string{"write", "create"} {
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
		link(t, "../victim", d.File("file"))
		if err := uses["read"](d); !errors.Is(err, ErrLink) {
			t.Errorf("read: %v, want %v", err, ErrLink)
		}
		if err := uses[way](d); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if err := d.Remove("file"); err != nil {
			t.Error(err)
		}
	}
	link(t, "../victim", d.File("file"))
	if err := d.RemoveAll("file"); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the file has %q, %v", data, err)
	}
}

func TestDir(t *testing.T) {
	t.Chdir(t.TempDir())
	d := NewDir("a/out/")
	if _, err := d.Read("file", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read from a directory that is not there: %v", err)
	}
	if _, err := os.Stat("a"); err == nil {
		t.Error("reading makes the directory")
	}
	sub := d.Sub("x", "y")
	if err := sub.Write("file", []byte("text")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile("a/out/x/y/file"); err != nil || string(data) != "text" {
		t.Errorf("the file has %q, %v", data, err)
	}
	if _, err := d.Read("x/../../../secret", 10); err == nil {
		t.Error("a name leads out of the directory")
	}
	failed := errors.New("fill failed")
	if err := sub.Replace("file", 0o644, func(w io.Writer) error { _, _ = w.Write([]byte("half")); return failed }); !errors.Is(err, failed) {
		t.Errorf("replace: %v", err)
	}
	if data, err := sub.Read("file", 10); err != nil || string(data) != "text" {
		t.Errorf("after half of a write the file has %q, %v", data, err)
	}
	entries, err := sub.List()
	if err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("the directory has %v, %v: a part is left", entries, err)
	}
	var none *Dir
	if err := none.Sub("x").Write("file", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("write to no directory: %v", err)
	}
}

// An error names the file that cannot be replaced, not the temporary one.
func TestDirNamesTheFile(t *testing.T) {
	d := NewDir(filepath.Join(t.TempDir(), "out"))
	if err := d.Sub("file").Make(); err != nil {
		t.Fatal(err)
	}
	err := d.Write("file", nil)
	if want := "rename " + d.File("file") + ": file exists"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestOwnersOfUsedFiles(t *testing.T) {
	const alice, root = 1000, 0
	for name, test := range map[string]struct {
		user, owner int
		mode        fs.FileMode
		good        bool
	}{
		"own":                        {alice, alice, fs.ModeDir | 0o777, true},
		"another's":                  {alice, 1001, fs.ModeDir | 0o755, false},
		"another's file":             {alice, 1001, 0o644, false},
		"root's":                     {alice, root, fs.ModeDir | 0o755, true},
		"root's file":                {alice, root, 0o644, true},
		"root's, which all write to": {alice, root, fs.ModeDir | 0o777, false},
		"root's, which a group has":  {alice, root, fs.ModeDir | 0o775, false},
		"/tmp":                       {alice, root, fs.ModeDir | fs.ModeSticky | 0o777, true},
		"root, and a user's":         {root, alice, fs.ModeDir | 0o755, false},
	} {
		if err := checkOwner(test.user, test.owner, test.mode); (err == nil) != test.good || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Directories and files of another user are refused, at each level.
func TestDirOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	base := t.TempDir()
	for _, path := range []string{"out", "out/sub", "out/sub/file"} {
		writeFile(t, filepath.Join(base, "out/sub/file"), "text")
		name := filepath.Join(base, path)
		if err := os.Chown(name, 4711, 4711); err != nil {
			t.Fatal(err)
		}
		d := NewDir(filepath.Join(base, "out")).Sub("sub")
		if _, err := d.Read("file", 10); err == nil || !strings.Contains(err.Error(), "another user, number 4711") {
			t.Errorf("%s: %v", path, err)
		}
		if err := os.Chown(name, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnyDir(t *testing.T) {
	base := t.TempDir()
	writeFile(t, filepath.Join(base, "file"), "text")
	link(t, "file", filepath.Join(base, "link"))
	link(t, "/etc/hostname", filepath.Join(base, "out"))
	d := AnyDir(base)
	defer d.Close()
	if data, err := d.Read("link", 10); err != nil || string(data) != "text" {
		t.Errorf("a link below the directory: %q, %v", data, err)
	}
	if _, err := d.Read("out", 1<<10); err == nil {
		t.Error("a link leads out of the directory")
	}
	file := filepath.Join(base, "script")
	if err := AnyFile(file).Replace(0o755, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	entries, err := d.List()
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"file", "link", "out", "script"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v, want %v", names, err, want)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// WriteNew writes a file once, and leaves nothing else.
func TestWriteNew(t *testing.T) {
	dir := NewDir(t.TempDir())
	defer dir.Close()
	if err := dir.WriteNew("sub/file", []byte("first")); err != nil {
		t.Fatal(err)
	}
	link(t, "nowhere", dir.File("sub/link"))
	for _, name := range []string{"sub/file", "sub/link", "sub"} {
		if err := dir.WriteNew(name, []byte("second")); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), dir.File(name)+":") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if data, err := dir.Read("sub/file", 100); err != nil || string(data) != "first" {
		t.Errorf("%q, %v", data, err)
	}
	if entries, err := dir.Sub("sub").List(); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}
