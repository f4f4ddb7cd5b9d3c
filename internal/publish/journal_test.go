package publish

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestJournalOfAKilledRunStays(t *testing.T) {
	out := regular.NewDir(t.TempDir())
	entry := JournalEntry{System: matrix.X8664Linux, Cache: "c", Paths: []nix.StorePath{nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop")}}
	other := JournalEntry{System: matrix.AArch64Linux, Cache: "c", Paths: entry.Paths}
	more := JournalEntry{System: matrix.X8664Linux, Cache: "c", Paths: append(slices.Clone(entry.Paths), nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-headless"))}
	first, second := NewJournal(out, "1", nil), NewJournal(out, "2", nil) // two runs at once
	for _, add := range []error{first.Add(entry), first.Add(other), second.Add(more), first.Done(entry)} {
		if add != nil {
			t.Fatal(add)
		}
	}
	journals, err := OpenJournals(out, nil) // as after a kill
	if err != nil {
		t.Fatal(err)
	}
	var got []JournalEntry
	for _, j := range journals {
		got = append(got, j.Entries()...)
	}
	if diff := cmp.Diff([]JournalEntry{other, more}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for _, j := range journals {
		for _, e := range j.Entries() {
			if err := j.Done(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := out.Stat("journal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left where all is published: %v", err)
	}
}

// The journal of a killed run is removed by a later run that publishes everything in it, and by no other.
func TestJournalOfAKilledRunIsRemoved(t *testing.T) {
	paths := []nix.StorePath{nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop"), nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-headless")}
	for name, test := range map[string]struct {
		published JournalEntry
		removed   bool
	}{
		"all of it":       {JournalEntry{System: matrix.AArch64Linux, Cache: "c", Paths: paths}, true},
		"a part":          {JournalEntry{Cache: "c", Paths: paths[:1]}, false},
		"another cache's": {JournalEntry{Cache: "d", Paths: paths}, false},
	} {
		t.Run(name, func(t *testing.T) {
			out := regular.NewDir(t.TempDir())
			killed, later := NewJournal(out, "1", nil), NewJournal(out, "2", nil)
			left := JournalEntry{System: matrix.X8664Linux, Cache: "c", Paths: paths}
			for _, err := range []error{killed.Add(left), later.Add(test.published), later.Done(test.published)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			journals, err := OpenJournals(out, nil)
			if err != nil || len(journals) == 0 != test.removed {
				t.Errorf("%d journals are left, error %v", len(journals), err)
			}
		})
	}
}

// A run that was killed while it wrote a journal leaves a partial file. A later run with the same OUT removes only that
// file.
func TestPartialJournalsAreRemoved(t *testing.T) {
	out := regular.NewDir(t.TempDir())
	const part, others = ".20261130-204151-dkd5ua.json.AAAAAAAAAAAAAAAAAAAAAAAA27", ".letter.json"
	for _, name := range []string{part, others} {
		if err := journalDir(out).Write(name, []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	entry := JournalEntry{Cache: "c", Paths: []nix.StorePath{nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop")}}
	publish := func(run string) []os.DirEntry {
		t.Helper()
		j := NewJournal(out, run, nil)
		if err := errors.Join(j.Add(entry), j.Done(entry)); err != nil {
			t.Fatal(err)
		}
		left, _ := journalDir(out).List()
		return left
	}
	if left := publish("1"); len(left) != 1 || left[0].Name() != others {
		t.Errorf("left are %v", left)
	}
	if err := journalDir(out).Remove(others); err != nil {
		t.Fatal(err)
	}
	if err := journalDir(out).Write(part, nil); err != nil {
		t.Fatal(err)
	}
	publish("2")
	if _, err := out.Stat(journalBase); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left: %v", err)
	}
}

// Another user who can read OUT can lock it. No run waits for that lock without a limit.
func TestLockOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := regular.NewDir(t.TempDir())
		f, err := out.OpenItself()
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			t.Fatal(err)
		}
		uploads := NewUploadLog(out, "1", "c")
		uploads.Begun("x")
		for what, err := range map[string]error{
			"journal": NewJournal(out, "1", nil).Add(JournalEntry{Cache: "c"}), "uploads": uploads.RemoveIfEnded(),
		} {
			if err == nil || !strings.Contains(err.Error(), "another process has locked it for 10s") {
				t.Errorf("%s: %v", what, err)
			}
		}
		time.AfterFunc(time.Second, func() { f.Close() })
		if err := NewJournal(out, "2", nil).Add(JournalEntry{Cache: "c"}); err != nil {
			t.Error(err)
		}
	})
}

// A checkout can contain any number of journals.
func TestTotalSizeOfJournalsIsBounded(t *testing.T) {
	out := regular.NewDir(t.TempDir())
	for _, name := range []string{"1.json", "2.json"} {
		text := `{"version":1,"entries":[]}` + strings.Repeat(" ", maxJournal/2)
		if err := journalDir(out).Write(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	journals, err := OpenJournals(out, nil)
	if err == nil || !strings.Contains(err.Error(), "more than 32 MiB in all") || len(journals) != 1 {
		t.Errorf("%d journals, error %v", len(journals), err)
	}
}

func TestInvalidJournalIsRefused(t *testing.T) {
	for name, content := range map[string]string{
		"truncated":     `{"version":1,"entries":[`,
		"other version": `{"version":2,"entries":[]}`,
		"hostile path":  `{"version":1,"entries":[{"cache":"c","paths":["/etc/passwd"]}]}`,
		"wrong type":    `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			out := regular.NewDir(t.TempDir())
			if err := journalDir(out).Make(); err != nil {
				t.Fatal(err)
			}
			if err := journalDir(out).Write("x.json", []byte(content)); err != nil {
				t.Fatal(err)
			}
			entry := JournalEntry{Cache: "c", Paths: []nix.StorePath{nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop")}}
			if err := NewJournal(out, "y", nil).Add(entry); err != nil {
				t.Fatal(err)
			}
			journals, err := OpenJournals(out, nil)
			if err == nil || !strings.Contains(err.Error(), "read journal "+journalDir(out).File("x.json")) {
				t.Errorf("error %v", err)
			}
			if len(journals) != 1 || journals[0].run != "y" {
				t.Errorf("the other journal is not read: %v", journals)
			}
		})
	}
}

// A killed run of two systems has two entries. A later run publishes them one after the other, and the journal ends with
// the last.
func TestJournalOfTwoSystemsEndsWithTheLastOfThem(t *testing.T) {
	out := regular.NewDir(t.TempDir())
	killed, later := NewJournal(out, "1", nil), NewJournal(out, "2", nil)
	x86 := JournalEntry{System: matrix.X8664Linux, Cache: "c", Paths: []nix.StorePath{"/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop"}}
	aarch64 := JournalEntry{System: matrix.AArch64Linux, Cache: "c", Paths: []nix.StorePath{"/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-headless"}}
	for _, err := range []error{killed.Add(x86), killed.Add(aarch64), later.Add(x86), later.Add(aarch64), later.Done(x86)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if journals, err := OpenJournals(out, nil); err != nil || len(journals) != 2 {
		t.Errorf("%d journals are left after the first system, error %v", len(journals), err)
	}
	if err := later.Done(aarch64); err != nil {
		t.Fatal(err)
	}
	if journals, err := OpenJournals(out, nil); err != nil || len(journals) > 0 {
		t.Errorf("%d journals are left, error %v", len(journals), err)
	}
}

// A journal with pins stays until they are made: the run that publishes its paths may be one that does not pin.
func TestJournalWithPinsStaysUntilTheyAreMade(t *testing.T) {
	const desktop = nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-desktop")
	for name, test := range map[string]struct {
		pinned  map[string]nix.StorePath
		settled bool
	}{
		"none": {nil, false}, "another": {map[string]nix.StorePath{"headless": desktop}, false}, "all": {map[string]nix.StorePath{"desktop": desktop}, true},
	} {
		t.Run(name, func(t *testing.T) {
			out := regular.NewDir(t.TempDir())
			release, later := NewJournal(out, "1", nil), NewJournal(out, "2", nil)
			entry := JournalEntry{System: matrix.X8664Linux, Cache: "c", Paths: []nix.StorePath{desktop}}
			for _, err := range []error{
				release.Add(entry), release.Pin(map[string]nix.StorePath{"desktop": desktop}), later.Add(entry), later.Done(entry), later.Pinned("c", test.pinned),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			journals, err := OpenJournals(out, nil)
			if err != nil || (len(journals) == 0) != test.settled {
				t.Errorf("%d journals are left, error %v", len(journals), err)
			}
		})
	}
}

// A journal without entries is removed, so that no later push makes its pins. The run does not promise them.
func TestPinsAreNotPromisedWithoutAnEntry(t *testing.T) {
	p := Publisher{Journal: NewJournal(regular.NewDir(t.TempDir()), "1", nil)}
	cells := []run.CellResult{{Publish: &run.PublishResult{Verdict: run.Published}}}
	if err := p.pinLater(cells, &Error{Err: errors.New("remove journal")}); err == nil || strings.Contains(err.Error(), "--resume") {
		t.Errorf("got %v", err)
	}
}
