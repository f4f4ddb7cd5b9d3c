package contract

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Mismatch is a fixed-output derivation whose output has another hash than specified.
type Mismatch struct {
	Derivation nix.StorePath `json:"derivation,omitempty"`
	// Specified is the hash in the flake, Got the hash of what was fetched, both in SRI form.
	Specified string `json:"specified"`
	Got       string `json:"got"`
	// Positions are those of the specified hash in the flake's files.
	Positions []Position `json:"places,omitempty"`
}

// Position is a line of a file of the tree.
type Position struct {
	File string `json:"file"`
	Line int    `json:"line"`
	// Text is the corrected line; empty where nothing is corrected.
	Text string `json:"text"`
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

var mismatchText = regexp.MustCompile(`hash mismatch in fixed-output derivation '([^']+)':?\s+(?:specified|wanted):\s+(\S+)\s+got:\s+(\S+)`)

// ParseMismatch parses Nix's message of a wrong hash, with any white space between its words.
func ParseMismatch(message string) (Mismatch, bool) {
	m := mismatchText.FindStringSubmatch(message)
	if m == nil {
		return Mismatch{}, false
	}
	return Mismatch{Derivation: nix.StorePath(m[1]), Specified: m[2], Got: m[3]}, true
}

// Locate finds the hash in the Nix files of a tree.
func (m Mismatch) Locate(tree string) Mismatch {
	m.Positions = nil
	_ = eachNixFile(tree, func(file, text string) error { // a file that cannot be read has no position to report
		_, found := correct(file, text, []Mismatch{m})
		m.Positions = append(m.Positions, found...)
		return nil
	})
	return m
}

// Fix replaces each wrong hash by the right one, in every Nix file of the flake that contains it, and returns the
// positions that it has changed.
func Fix(flake string, mismatches []Mismatch) (changed []Position, err error) {
	if err := ambiguous(mismatches); err != nil {
		return nil, err
	}
	err = eachNixFile(flake, func(file, text string) error {
		corrected, found := correct(file, text, mismatches)
		if len(found) == 0 {
			return nil
		}
		changed = append(changed, found...)
		return replaceFile(filepath.Join(flake, file), corrected)
	})
	return changed, err
}

// correct returns the text of a file with the right hashes, and the positions where it differs.
func correct(file, text string, mismatches []Mismatch) (corrected string, changed []Position) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for _, m := range mismatches {
			if form := spelling(line, m.Specified); form != "" {
				lines[i] = strings.ReplaceAll(line, form, m.Got)
				changed = append(changed, Position{file, i + 1, strings.TrimSpace(lines[i])})
				break
			}
		}
	}
	return strings.Join(lines, "\n"), changed
}

// ambiguous refuses a hash that several fetches use with different results. It is usually a placeholder.
func ambiguous(mismatches []Mismatch) error {
	got := map[string]Mismatch{}
	for _, m := range mismatches {
		first, again := got[m.Specified]
		if again && first.Got != m.Got {
			return fmt.Errorf("fix hash %s: it has to be %s for %s and %s for %s; replace one of them by hand",
				m.Specified, first.Got, nix.DerivationName(first.Derivation), m.Got, nix.DerivationName(m.Derivation))
		}
		got[m.Specified] = m
	}
	return nil
}

// FixStatic adds to each table of hashes the entries that it lacks and another table has. It does not guess: only a
// build finds a hash that is in no file.
func (c *Contract) FixStatic(flake string) (changed []Position, err error) {
	if c.Hashes == nil {
		return nil, nil
	}
	_, tables, err := c.Hashes.read(flake)
	tables = slices.DeleteFunc(tables, func(t hashTable) bool { return t.last == 0 }) // the check reports what cannot be read
	for _, t := range slices.Backward(tables) {                                       // added lines move the lines below
		added, err := t.complete(flake, tables)
		if err != nil {
			return changed, err
		}
		changed = append(changed, added...)
	}
	return changed, err
}

// complete adds to one table, before its closing brace, the entries of the others that it lacks.
func (t hashTable) complete(flake string, tables []hashTable) (added []Position, err error) {
	var entries []hashEntry
	for _, other := range tables {
		for _, e := range other.entries {
			if e.sri != "" && e.source != nil && !t.has(e.name) {
				t.entries, entries = append(slices.Clip(t.entries), e), append(entries, e)
			}
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	data, err := readFile(flake, t.file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(data), "\n")
	end := strings.TrimSpace(lines[t.last-1])
	at, indent := t.last-1, lines[t.last-1][:strings.Index(lines[t.last-1], end)]
	switch {
	case t.prefix != "" && strings.HasSuffix(end, ";"):
		at = t.last // after the last entry
	case t.prefix == "" && strings.HasPrefix(end, "}"):
		indent += "  "
	default:
		return nil, fmt.Errorf("fix %s:%d: the closing brace of the table is not on a separate line", t.file, t.last)
	}
	for i, e := range entries {
		added = append(added, Position{t.file, at + 1 + i, e.binding(t.prefix)})
		lines = slices.Insert(lines, at+i, indent+e.binding(t.prefix))
	}
	return added, replaceFile(filepath.Join(flake, t.file), strings.Join(lines, "\n"))
}

// spelling returns the form in which a line contains a hash, the longest first; empty if it does not.
func spelling(line, hash string) string {
	forms := []string{hash}
	if h, err := nix.ParseHash(hash); err == nil {
		forms = []string{h.SRI(), strings.TrimRight(h.SRI(), "="), h.Base16(), h.Base32(), h.Base64(), h.RawBase16(), h.RawBase32()}
	}
	for _, form := range forms {
		if strings.Contains(line, form) {
			return form
		}
	}
	return ""
}

// eachNixFile calls f with every Nix file of a flake, by its relative path. It passes over hidden directories, such as
// .git.
func eachNixFile(flake string, f func(file, text string) error) error {
	return filepath.WalkDir(flake, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != flake && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.Type().IsRegular() || filepath.Ext(path) != ".nix":
			return nil
		}
		data, err := regular.Read(path, maxFile)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(flake, path)
		if err != nil {
			return err
		}
		return f(filepath.ToSlash(file), string(data))
	})
}

// replaceFile replaces a file atomically and keeps its mode.
func replaceFile(file, text string) error {
	info, err := os.Stat(file)
	if err == nil {
		err = regular.AnyFile(file).Replace(info.Mode().Perm(), func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("fix %s: %w", file, cause(err))
	}
	return nil
}
