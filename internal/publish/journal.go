package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Journal is the file OUT/journal/<run>.json. It lists the store paths in OUT/cache that a run has to publish, and has no
// secret. The run writes it before it sends anything, and removes it when everything is published. A nil Journal keeps
// nothing.
type Journal struct {
	out    *regular.Dir
	run    string
	record *record.Record // has the hashes of journals; nil for none

	mu      sync.Mutex
	entries []JournalEntry
	pins    map[string]nix.StorePath

	published map[nix.StorePath]bool   // by this run
	pinned    map[string]nix.StorePath // by this run
}

// JournalEntry lists what one system has to publish.
type JournalEntry struct {
	System matrix.System   `json:"system,omitempty"`
	Cache  string          `json:"cache"`
	Paths  []nix.StorePath `json:"paths"`
	Consent
}

// journalVersion is the version of the file's schema.
const journalVersion = 1

// maxJournal limits the size of a journal, and of all journals of a directory: 2^17 store paths fit.
const maxJournal = 32 << 20

type journalFile struct {
	Version int            `json:"version"`
	Entries []JournalEntry `json:"entries"`
	// Pins are what the release pins when all entries are published.
	Pins map[string]nix.StorePath `json:"pins,omitempty"`
}

// NewJournal returns the journal of a run in the directory of its results. The file exists from the first entry on. The
// record, which may be nil, keeps the hash of what is written.
func NewJournal(out *regular.Dir, run string, r *record.Record) *Journal {
	return &Journal{out: out, run: run, record: r}
}

// Add adds an entry. It is on disk when Add returns.
func (j *Journal) Add(e JournalEntry) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return j.save()
}

// Pin adds what is to be pinned when all entries are published. It is on disk when Pin returns.
func (j *Journal) Pin(pins map[string]nix.StorePath) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pins = pins
	return j.save()
}

// Pins returns what is pinned when all entries are published.
func (j *Journal) Pins() map[string]nix.StorePath {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.pins)
}

// Done removes an entry, and the file with the last one. It also removes the journals of other runs if nothing that they
// list is left.
func (j *Journal) Done(e JournalEntry) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	before := slices.Clone(j.entries)
	j.entries = slices.DeleteFunc(j.entries, func(other JournalEntry) bool {
		return other.System == e.System && other.Cache == e.Cache && slices.Equal(other.Paths, e.Paths)
	})
	err := j.save()
	if err != nil {
		j.entries = before // as on disk
	}
	if j.published == nil {
		j.published = map[nix.StorePath]bool{}
	}
	for _, p := range e.Paths {
		j.published[p] = true
	}
	return errors.Join(err, j.removeOthers(e.Cache))
}

// Pinned removes the journals of other runs if nothing that they list is left, now that the run has made pins in a cache.
func (j *Journal) Pinned(cache string, pins map[string]nix.StorePath) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pinned = pins
	return j.removeOthers(cache)
}

// removeOthers removes the journals of other runs that list only what this run has published in a cache, and pins that it
// has made. A run that has not ended writes its file again with its next entry.
func (j *Journal) removeOthers(cache string) error {
	unlock, err := j.out.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	names, err := journalNames(j.out, ".json")
	if err != nil {
		return err
	}
	for _, name := range names {
		other, err := openJournal(j.out, name, nil)
		if err != nil || other.run == j.run { // a user has to look at a damaged one
			continue
		}
		if !j.leaves(other, cache) {
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

// leaves reports whether another journal lists what this run has not published in a cache or has not pinned.
func (j *Journal) leaves(other *Journal, cache string) bool {
	for name := range other.pins {
		if j.pinned[name] == "" || other.run > j.run {
			return true
		}
	}
	return slices.ContainsFunc(other.entries, func(o JournalEntry) bool {
		return o.Cache != cache || slices.ContainsFunc(o.Paths, func(p nix.StorePath) bool { return !j.published[p] })
	})
}

// journalPart matches the names of files that are renamed to a journal: see [regular.Dir.Replace].
var journalPart = regexp.MustCompile(`^[.].+[.]json[.][A-Z2-7]{26}$`)

func (j *Journal) save() error {
	unlock, err := j.out.Lock()
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

// remove removes the file and its hash in the record, so that a copy of the file cannot be resumed.
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

// Entries returns what is not published yet.
func (j *Journal) Entries() []JournalEntry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// IsRecorded reports whether a run of this user has written the journal with these contents.
func (j *Journal) IsRecorded() bool { return j.record != nil }

// Consent returns the consent that all entries have.
func (j *Journal) Consent() Consent {
	c := Consent{Unsandboxed: true, Different: true}
	for _, e := range j.Entries() {
		c.Unsandboxed = c.Unsandboxed && e.Unsandboxed
		c.Different = c.Different && e.Different
	}
	return c
}

// Caches returns the caches that the journal names.
func (j *Journal) Caches() []string {
	var names []string
	for _, e := range j.Entries() {
		names = append(names, e.Cache)
	}
	return names
}

// File returns the path of the journal.
func (j *Journal) File() string { return j.file().Path() }

// Results returns the path of the binary cache that has the listed paths.
func (j *Journal) Results() string { return j.out.File("cache") }

func (j *Journal) file() regular.File {
	return regular.File{Dir: journalDir(j.out), Base: j.run + ".json"}
}
