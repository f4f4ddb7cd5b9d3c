package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Journal is the file OUT/journal/<run>.json. It holds what a run has begun to publish and not brought to its end:
// store paths that are in OUT/cache, and no secret. Each run has a file of its own, so that two do not harm each other.
// It is written before the first byte is sent, and is gone when all is published.
// A nil Journal keeps nothing.
type Journal struct {
	out    *regular.Dir
	run    string
	record *record.Record // knows the journals that were written here; nil for none

	mu      sync.Mutex
	entries []JournalEntry
	pins    map[string]nix.StorePath
}

// JournalEntry is what one system has to publish.
type JournalEntry struct {
	System matrix.System   `json:"system,omitempty"`
	Cache  string          `json:"cache"`
	Paths  []nix.StorePath `json:"paths"`
	Consent
}

// Consent is what a run was told to publish all the same.
type Consent struct {
	Unsandboxed bool `json:"unsandboxed,omitempty"` // what was built without a sandbox
	Different   bool `json:"different,omitempty"`   // that of which a second build differed
}

// journalVersion is the version of the file's schema.
const journalVersion = 1

// maxJournal bounds what is read as a journal, and as all of them to resume: 2^17 store paths fit.
const maxJournal = 32 << 20

type journalFile struct {
	Version int            `json:"version"`
	Entries []JournalEntry `json:"entries"`
	// Pins are what the release pins when all entries are published; none for a run that pins nothing.
	Pins map[string]nix.StorePath `json:"pins,omitempty"`
}

// NewJournal returns the journal of a run in the directory of its results. Nothing is written before there is something to
// note. The record, which may be nil, is told what is written.
func NewJournal(out *regular.Dir, run string, r *record.Record) *Journal {
	return &Journal{out: out, run: run, record: r}
}

// Add notes an entry, on disk when Add returns.
func (j *Journal) Add(e JournalEntry) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return j.save()
}

// Pin notes what is to be pinned once all that is left is published, on disk when Pin returns. Where nothing is left,
// nothing is noted.
func (j *Journal) Pin(pins map[string]nix.StorePath) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pins = pins
	return j.save()
}

// Pins returns what is to be pinned when all entries are published.
func (j *Journal) Pins() map[string]nix.StorePath {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.pins)
}

// Done takes an entry out, and the file away with the last one. So it does with what earlier runs that were killed have
// left, where all of that is published now.
func (j *Journal) Done(e JournalEntry) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = slices.DeleteFunc(j.entries, func(other JournalEntry) bool {
		return other.System == e.System && other.Cache == e.Cache && slices.Equal(other.Paths, e.Paths)
	})
	return errors.Join(j.save(), j.settleOthers(e))
}

// settleOthers removes the journals of other runs that have nothing but paths of e. A run that is under way and has
// more to add writes its file anew.
func (j *Journal) settleOthers(e JournalEntry) error {
	unlock, err := lockDir(j.out)
	if err != nil {
		return err
	}
	defer unlock()
	published := make(map[nix.StorePath]bool, len(e.Paths))
	for _, p := range e.Paths {
		published[p] = true
	}
	names, err := journalNames(j.out, ".json")
	if err != nil {
		return err
	}
	for _, name := range names {
		other, err := openJournal(j.out, name, nil)
		if err != nil || other.run == j.run { // one that cannot be read is for a person to look at
			continue
		}
		isLeft := slices.ContainsFunc(other.entries, func(o JournalEntry) bool {
			return o.Cache != e.Cache || slices.ContainsFunc(o.Paths, func(p nix.StorePath) bool { return !published[p] })
		})
		if !isLeft {
			other.record = j.record
			err = other.remove()
		}
		if err != nil {
			return fmt.Errorf("remove journal %s: %v", other.File(), err)
		}
	}
	removeJournalDir(j.out)
	return nil
}

// journalPart matches the names of files that are written beside a journal and renamed: see [regular.Dir.Replace].
var journalPart = regexp.MustCompile(`^[.].+[.]json[.][A-Z2-7]{26}$`)

// removeJournalDir removes the directory of journals where no run has a file in it. Parts of journals are those of killed
// runs, and are removed, because the caller has the lock that each run has while it writes a journal.
func removeJournalDir(out *regular.Dir) {
	entries, _ := journalDir(out).List()
	for _, e := range entries {
		if journalPart.MatchString(e.Name()) && e.Type().IsRegular() {
			_ = journalDir(out).Remove(e.Name())
		}
	}
	_ = out.Remove(journalBase)
}

// lockDir keeps other processes from the files of a directory until unlock is called.
func lockDir(dir *regular.Dir) (unlock func(), err error) {
	f, err := dir.OpenItself()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %v", dir.Name(), err)
	}
	if err := regular.Lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which lets go of the lock
}

func (j *Journal) save() error {
	unlock, err := lockDir(j.out)
	if err != nil {
		return err
	}
	defer unlock()
	if len(j.entries) == 0 {
		err = j.remove()
		removeJournalDir(j.out)
	} else {
		var data []byte
		if data, err = json.MarshalIndent(journalFile{journalVersion, j.entries, j.pins}, "", "  "); err == nil {
			data = append(data, '\n')
			if j.record != nil {
				err = j.record.NoteJournal(j.run, data)
			}
		}
		if err == nil {
			err = j.file().Write(data)
		}
	}
	if err != nil {
		return fmt.Errorf("write journal %s: %v", j.File(), err)
	}
	return nil
}

// remove removes the file, and has the record forget it: whoever puts it there again must not have it resumed once more.
func (j *Journal) remove() error {
	if err := j.file().Dir.Remove(j.file().Base); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if j.record == nil {
		return nil
	}
	return j.record.ForgetJournal(j.run)
}

// journalBase is the name of the directory of journals.
const journalBase = "journal"

func journalDir(out *regular.Dir) *regular.Dir { return out.Sub(journalBase) }

// journalNames returns the files of all runs with an extension, oldest first: their names begin with the time.
func journalNames(out *regular.Dir, ext string) ([]string, error) {
	entries, err := journalDir(out).List()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ext && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// OpenJournals reads what earlier runs have left in the directory of their results, oldest first. Journals that cannot be
// read stay where they are: the error names each, and the others are returned beside it. The record, which may be nil, says
// which of them were written by this user's runs.
func OpenJournals(out *regular.Dir, r *record.Record) (all []*Journal, err error) {
	names, err := journalNames(out, ".json")
	if err != nil {
		return nil, fmt.Errorf("read journals in %s: %w", out.Name(), err)
	}
	left := int64(maxJournal)
	for _, name := range names {
		info, readErr := journalDir(out).Stat(name)
		if readErr == nil && info.Size() > left {
			readErr = fmt.Errorf("the journals have more than %d MiB in all", maxJournal>>20)
		}
		var j *Journal
		if readErr == nil {
			left -= info.Size()
			j, readErr = openJournal(out, name, r)
		}
		if readErr != nil {
			file := journalDir(out).File(name)
			err = errors.Join(err, hint.Wrap(fmt.Errorf("read journal %s: %w", file, readErr),
				"its paths are in %s; to publish all that is there: go run ./ci push --from %[1]s; then remove %s", out.File("cache"), file))
			continue
		}
		all = append(all, j)
	}
	return all, err
}

func openJournal(out *regular.Dir, name string, r *record.Record) (*Journal, error) {
	data, err := journalDir(out).Read(name, maxJournal)
	if err != nil {
		return nil, err
	}
	file, err := parseJournal(data)
	j := &Journal{out: out, run: strings.TrimSuffix(name, ".json"), entries: file.Entries, pins: file.Pins}
	if r != nil && r.WroteJournal(j.run, data) {
		j.record = r
	}
	return j, err
}

func parseJournal(data []byte) (file journalFile, err error) {
	if err := regular.UnmarshalJSON(data, &file); err != nil {
		return file, err
	}
	if file.Version != journalVersion {
		return file, fmt.Errorf("it is of version %d, and this program knows version %d", file.Version, journalVersion)
	}
	for _, e := range file.Entries {
		for _, p := range e.Paths {
			if _, err := nix.ParseStorePath(string(p)); err != nil {
				return file, err
			}
		}
	}
	for name, p := range file.Pins {
		if _, err := matrix.ParsePackage(name); err != nil { // what is allowed in a package is in its pin's name
			return file, err
		}
		if _, err := nix.ParseStorePath(string(p)); err != nil {
			return file, err
		}
	}
	return file, nil
}

// Entries returns what is still to be published.
func (j *Journal) Entries() []JournalEntry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// IsRecorded says whether the record knows that a run of this user has written the journal as it is.
func (j *Journal) IsRecorded() bool { return j.record != nil }

// Consent is what the run has agreed to for all entries.
func (j *Journal) Consent() Consent {
	c := Consent{Unsandboxed: true, Different: true}
	for _, e := range j.Entries() {
		c.Unsandboxed = c.Unsandboxed && e.Unsandboxed
		c.Different = c.Different && e.Different
	}
	return c
}

// Caches are the caches that the journal names.
func (j *Journal) Caches() []string {
	var names []string
	for _, e := range j.Entries() {
		names = append(names, e.Cache)
	}
	return names
}

// File is where the journal is.
func (j *Journal) File() string { return j.file().Path() }

func (j *Journal) file() regular.File {
	return regular.File{Dir: journalDir(j.out), Base: j.run + ".json"}
}
