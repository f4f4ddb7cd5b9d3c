package record

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	top = nix.StorePath("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-top")
	dep = nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-dep")
)

func info(contents string) nix.PathInfo {
	h := gonix.NewHasher(gonix.SHA256)
	_, _ = h.WriteString(contents)
	return nix.PathInfo{Path: top, NARHash: h.SumHash(), NARSize: int64(len(contents)), References: []nix.StorePath{top, dep}, Ultimate: true}
}

func open(t *testing.T) *Record {
	t.Helper()
	r, err := Open(filepath.Join(t.TempDir(), "state", "record"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestObjects(t *testing.T) {
	r := open(t)
	if _, ok := r.Object(top); ok {
		t.Error("an empty record knows an object")
	}
	if err := r.Note("1", []nix.PathInfo{info("contents")}); err != nil {
		t.Fatal(err)
	}
	file := File{Info: "a", Identity: "1:2"}
	mark := func(o *Object) { o.Sandbox, o.Second = SandboxOn, Same; o.AddFile(file); o.AddFile(file) }
	if err := r.Change([]nix.StorePath{top}, mark); err != nil {
		t.Fatal(err)
	}
	// The same contents again change nothing.
	if err := r.Note("2", []nix.PathInfo{info("contents")}); err != nil {
		t.Fatal(err)
	}
	again, err := OpenReadOnly(r.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	o, ok := again.Object(top)
	want := Object{
		Path: top, NARHash: info("contents").NARHash.SRI(), NARSize: 8, References: []nix.StorePath{dep, top},
		Origin: Built, Run: "1", Sandbox: SandboxOn, Second: Same, Files: []File{file},
	}
	if diff := cmp.Diff(want, o); diff != "" || !ok || !o.Matches(info("contents")) || !o.Holds(file) {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
	if got, ok := o.Info(); !ok || !o.Matches(got) {
		t.Errorf("info is %+v, %v", got, ok)
	}
	if err := again.Note("3", []nix.PathInfo{info("other")}); err == nil {
		t.Error("a record that is open for reading was changed")
	}

	// New contents remove the results, apart from those against publishing.
	if err := r.Note("3", []nix.PathInfo{info("other")}); err != nil {
		t.Fatal(err)
	}
	if o, _ := r.Object(top); o.Run != "3" || o.Second != "" || len(o.Files) > 0 || o.Matches(info("contents")) {
		t.Errorf("of other contents: %+v", o)
	}
	if err := r.Change([]nix.StorePath{top}, func(o *Object) { o.Second = Different }); err != nil {
		t.Fatal(err)
	}
	if err := r.Note("4", []nix.PathInfo{info("third")}); err != nil {
		t.Fatal(err)
	}
	if o, _ := r.Object(top); o.Second != Different {
		t.Errorf("the difference of a second build is lost: %+v", o)
	}
}

// An unreadable entry may have a reason against publishing. So it does not count as missing, and is not overwritten. The
// error has a hint how to repair it.
func TestUnreadableObject(t *testing.T) {
	r := open(t)
	if err := r.Note("1", []nix.PathInfo{info("contents")}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.Path(), objectFile(top)))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.Path(), objectFile(dep))
	write := func(text string) func() error { return func() error { return os.WriteFile(file, []byte(text), 0o600) } }
	for name, make := range map[string]func() error{
		"another path's": write(string(data)), "cut": write(string(data[:20])), "empty": write(""),
		"no file": func() error { return os.Mkdir(file, 0o700) },
		"a link":  func() error { return os.Symlink(file, file) },
	} {
		if err := errors.Join(os.RemoveAll(file), make()); err != nil {
			t.Fatal(err)
		}
		o, ok := r.Object(dep)
		if ok || o.Unreadable == nil || !strings.Contains(o.Unreadable.Error(), "read record "+file) {
			t.Errorf("%s: %+v, %v", name, o, ok)
		}
		if hints := hint.Of(o.Unreadable); len(hints) != 1 || !strings.HasSuffix(hints[0], "rm "+file+"; nix-store --delete "+string(dep)) {
			t.Errorf("%s: hints %q", name, hints)
		}
		err := r.Change([]nix.StorePath{dep}, func(o *Object) { o.Second = Same })
		if err == nil || len(hint.Of(err)) != 1 {
			t.Errorf("%s: it is written over: %v", name, err)
		}
	}
}

func TestCells(t *testing.T) {
	type key struct{ A, B string }
	r := open(t)
	var got []string
	if ok, err := r.Cell(key{"1", "2"}, &got); ok || err != nil {
		t.Errorf("an empty record has %q, %v", got, err)
	}
	if err := r.SetCell(key{"1", "2"}, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Cell(key{"1", "2"}, &got); !ok || err != nil || len(got) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
	if ok, err := r.Cell(key{"12", ""}, &got); ok || err != nil {
		t.Errorf("another key has %q, %v", got, err)
	}
	name, err := cellFile(key{"1", "2"})
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Path(), name), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Cell(key{"1", "2"}, &got); ok || err == nil {
		t.Errorf("an empty file: %v, %v", ok, err)
	}
}

func TestJournals(t *testing.T) {
	r := open(t)
	for _, text := range []string{"first", "second"} {
		if err := r.NoteJournal("run", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]bool{"first": true, "second": true, "third": false, "": false} {
		if got := r.WroteJournal("run", []byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if r.WroteJournal("another", []byte("first")) {
		t.Error("the journal of another run is accepted")
	}
	if err := r.NoteJournal("run", []byte("third")); err != nil {
		t.Fatal(err)
	}
	if r.WroteJournal("run", []byte("first")) {
		t.Error("an old journal is accepted")
	}
}

// If several processes change one object, no change is lost.
func TestChangesOfSeveralProcesses(t *testing.T) {
	r := open(t)
	var group sync.WaitGroup
	for range 4 {
		other, err := Open(r.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		group.Go(func() {
			for range 25 {
				if err := other.Change([]nix.StorePath{top}, func(o *Object) { o.NARSize++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if o, _ := r.Object(top); o.NARSize != 100 {
		t.Errorf("%d changes of 100 are there", o.NARSize)
	}
}

// If a process stops while it has the lock, other processes do not wait without limit.
func TestLockOfTheRecordHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t)
		f, err := os.Open(r.Path())
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Note("1", []nix.PathInfo{info("contents")}); !errors.Is(err, regular.ErrLocked) {
			t.Errorf("error %v", err)
		}
		time.AfterFunc(time.Second, func() { f.Close() })
		if err := r.Note("1", []nix.PathInfo{info("contents")}); err != nil {
			t.Error(err)
		}
	})
}

func TestDirectoriesOfOthersAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		make func(dir string) error
		want string
	}{
		"a link": {func(dir string) error {
			return os.Symlink(t.TempDir(), dir)
		}, "is a symbolic link"},
		"a file":              {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "is not a directory"},
		"readable for others": {func(dir string) error { return os.Mkdir(dir, 0o755) }, "has the mode 0755"},
		"another user's": {func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chown(dir, 4321, -1)
		}, "belongs to another user (uid 4321)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "record")
			if err := test.make(dir); err != nil {
				t.Skip(err)
			}
			for _, open := range []func(string) (*Record, error){Open, OpenReadOnly} {
				if _, err := open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the error is %v, want %q", err, test.want)
				}
			}
		})
	}
}

// A user who can write to a directory above the record could replace the record.
func TestRecordBelowADirectoryOfAllIsRefused(t *testing.T) {
	for mode, refused := range map[os.FileMode]bool{0o777: true, 0o773: true, 0o777 | os.ModeSticky: false, 0o775: false} {
		above := filepath.Join(t.TempDir(), "above")
		dir := filepath.Join(above, "state", "record")
		if r, err := Open(dir); err != nil {
			t.Fatal(err)
		} else if r.Close(); os.Chmod(above, mode) != nil {
			t.Fatal("chmod failed")
		}
		for _, open := range []func(string) (*Record, error){Open, OpenReadOnly} {
			r, err := open(dir)
			if (err != nil) != refused || refused && !strings.Contains(err.Error(), "every user may write to "+above) {
				t.Errorf("%v: the error is %v", mode, err)
			}
			if err == nil {
				r.Close()
			}
		}
	}
}

func TestDir(t *testing.T) {
	for _, test := range []struct{ state, home, want string }{
		{"/state", "/home/a", "/state/open-sesame-ci"},
		{"", "/home/a", "/home/a/.local/state/open-sesame-ci"},
		{"state", "/home/a", ""},
		{"", "", ""},
		{"", "home", ""},
	} {
		got, err := Dir(test.state, test.home)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("Dir(%q, %q) = %q, %v", test.state, test.home, got, err)
		}
	}
	// Reading creates no directory.
	dir := filepath.Join(t.TempDir(), "record")
	if r, err := OpenReadOnly(dir); err != nil || r.Writable() {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("reading has made the directory")
	}
}
