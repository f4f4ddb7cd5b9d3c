package record

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// journals has the hashes of the last two versions of the journal of a run. If the run was killed before it replaced the
// file, the file has the earlier one.
type journals struct {
	SHA256 []string `json:"sha256"`
}

func journalFile(run string) string { return filepath.Join(journalsDir, digest([]byte(run))+".json") }

// NoteJournal records the journal that a run will write next.
func (r *Record) NoteJournal(run string, data []byte) error {
	err := r.change(func() error {
		var known journals
		_ = r.read(journalFile(run), &known) // an unreadable file counts as none
		sums := append([]string{digest(data)}, known.SHA256...)
		return r.writeJSON(journalFile(run), journals{sums[:min(len(sums), 2)]}, true)
	})
	if err != nil {
		return fmt.Errorf("record journal of run %s: %w", run, err)
	}
	return nil
}

// ForgetJournal removes the record of the journal of a run, after all of it is published.
func (r *Record) ForgetJournal(run string) error {
	err := r.change(func() error { return r.dir.Remove(journalFile(run)) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget journal of run %s: %w", run, err)
	}
	return nil
}

// WroteJournal returns whether a run of this user has written a journal with these contents.
func (r *Record) WroteJournal(run string, data []byte) bool {
	var known journals
	return r.read(journalFile(run), &known) == nil && slices.Contains(known.SHA256, digest(data))
}
