package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// removeJournalDir removes the directory of journals if it has no file of a run. Parts of journals are those of killed
// runs, because the caller has the lock that each run takes to write a journal.
func removeJournalDir(out *regular.Dir) {
	entries, _ := journalDir(out).List()
	for _, e := range entries {
		if journalPart.MatchString(e.Name()) && e.Type().IsRegular() {
			_ = journalDir(out).Remove(e.Name())
		}
	}
	_ = out.Remove(journalBase)
}

func journalDir(out *regular.Dir) *regular.Dir { return out.Sub(journalBase) }

// journalNames returns the files of all runs with an extension, oldest first, because their names begin with the time.
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

// OpenJournals reads the journals of earlier runs in the directory of their results, oldest first. The error names each
// journal that cannot be read; the others are returned with it. The record, which may be nil, says which of them this
// user's runs have written.
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
				"its paths are in %s; to publish all that is there: go run ./ci push --from %[1]s; then remove %s", hint.Quote(out.File("cache")), file))
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
		if _, err := matrix.ParsePackage(name); err != nil { // a pin's name has the characters of a package name
			return file, err
		}
		if _, err := nix.ParseStorePath(string(p)); err != nil {
			return file, err
		}
	}
	return file, nil
}
