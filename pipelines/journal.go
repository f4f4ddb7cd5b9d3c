package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Journal is the file OUT/journal/<run>.json. It holds what a run has begun to publish and not brought to its end:
// store paths that are in OUT/cache, and no secret. Each run has a file of its own, so that two do not harm each other.
// It is written before the first byte is sent, and is gone when all is published.
// A nil Journal keeps nothing.
type Journal struct {
	out, run string

	mu      sync.Mutex
	entries []JournalEntry
	pins    map[string]nix.StorePath
}

// JournalEntry is what one system has to publish.
type JournalEntry struct {
	System matrix.System   `json:"system,omitempty"`
	Cache  string          `json:"cache"`
	Paths  []nix.StorePath `json:"paths"`
}

// journalVersion is the version of the file's schema.
const journalVersion = 1

// maxJournal bounds what is read as a journal: 2^17 store paths fit.
const maxJournal = 32 << 20

type journalFile struct {
	Version int            `json:"version"`
	Entries []JournalEntry `json:"entries"`
	// Pins are what the release pins when all entries are published; none for a run that pins nothing.
	Pins map[string]nix.StorePath `json:"pins,omitempty"`
}

// NewJournal returns the journal of a run in the directory of its results. Nothing is written before there is something to note.
func NewJournal(out, run string) *Journal { return &Journal{out: out, run: run} }

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
	files, err := filepath.Glob(filepath.Join(escapeGlob(journalDir(j.out)), "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		other, err := openJournal(j.out, path)
		if err != nil || other.run == j.run { // one that cannot be read is for a person to look at
			continue
		}
		isLeft := slices.ContainsFunc(other.entries, func(o JournalEntry) bool {
			return o.Cache != e.Cache || slices.ContainsFunc(o.Paths, func(p nix.StorePath) bool { return !published[p] })
		})
		if !isLeft {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove journal %s: %v", path, err)
		}
	}
	_ = os.Remove(journalDir(j.out)) // stays where another run has a file there
	return nil
}

// lockDir keeps other processes from the files of a directory until unlock is called.
func lockDir(dir string) (unlock func(), err error) {
	f, err := regular.OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %v", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %v", dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which lets go of the lock
}

func (j *Journal) save() error {
	path := j.File()
	unlock, err := lockDir(j.out)
	if err != nil {
		return err
	}
	defer unlock()
	if len(j.entries) == 0 {
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		_ = os.Remove(journalDir(j.out)) // stays where another run has a file there
	} else {
		var data []byte
		if data, err = json.MarshalIndent(journalFile{journalVersion, j.entries, j.pins}, "", "  "); err == nil {
			err = os.MkdirAll(journalDir(j.out), 0o755)
		}
		if err == nil {
			err = writeFile(path, append(data, '\n'))
		}
	}
	if err != nil {
		return fmt.Errorf("write journal %s: %v", path, err)
	}
	return nil
}

func journalDir(out string) string { return filepath.Join(out, "journal") }

// OpenJournals reads what earlier runs have left in the directory of their results, oldest first.
func OpenJournals(out string) ([]*Journal, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(journalDir(out)), "*.json"))
	if err != nil {
		return nil, fmt.Errorf("read journals in %s: %v", out, err)
	}
	slices.Sort(files) // their names begin with the time
	var all []*Journal
	for _, path := range files {
		j, err := openJournal(out, path)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("read journal %s: %v", path, err),
				"its paths are in %s; to publish all that is there: go run ./ci push --from %[1]s", filepath.Join(out, "cache"))
		}
		all = append(all, j)
	}
	return all, nil
}

func openJournal(out, path string) (*Journal, error) {
	data, err := regular.Read(path, maxJournal)
	if err != nil {
		return nil, err
	}
	file, err := parseJournal(data)
	return &Journal{out: out, run: strings.TrimSuffix(filepath.Base(path), ".json"), entries: file.Entries, pins: file.Pins}, err
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

// Caches are the caches that the journal names.
func (j *Journal) Caches() []string {
	var names []string
	for _, e := range j.Entries() {
		names = append(names, e.Cache)
	}
	return names
}

// File is where the journal is.
func (j *Journal) File() string { return filepath.Join(journalDir(j.out), j.run+".json") }

// escapeGlob makes a pattern of a path that matches the path alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
