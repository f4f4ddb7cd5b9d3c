package record

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// journals are the contents that the journal of a run may have: the last ones that were written, and those before, which
// are in place where the run was killed in between.
type journals struct {
	SHA256 []string `json:"sha256"`
}

func journalFile(run string) string { return filepath.Join(journalsDir, digest([]byte(run))+".json") }

// NoteJournal notes what a run is about to write as its journal.
func (r *Record) NoteJournal(run string, data []byte) error {
	err := r.change(func() error {
		var known journals
		_ = r.read(journalFile(run), &known) // what cannot be read says nothing
		sums := append([]string{digest(data)}, known.SHA256...)
		return r.writeJSON(journalFile(run), journals{sums[:min(len(sums), 2)]}, true)
	})
	if err != nil {
		return fmt.Errorf("record journal of run %s: %w", run, err)
	}
	return nil
}

// ForgetJournal forgets what a run has written as its journal: all of it is published.
func (r *Record) ForgetJournal(run string) error {
	err := r.change(func() error { return r.dir.Remove(journalFile(run)) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget journal of run %s: %w", run, err)
	}
	return nil
}

// WroteJournal says whether a run of this user has written a journal with these contents.
func (r *Record) WroteJournal(run string, data []byte) bool {
	var known journals
	return r.read(journalFile(run), &known) == nil && slices.Contains(known.SHA256, digest(data))
}
