package contract

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
)

// hashTable is one outputHashes of a file, as read without Nix.
type hashTable struct {
	file string
	line int // where it begins
	last int // the line of its closing brace, or of the last entry with a path of its own; 0 where there is none
	// prefix comes before the name of an entry with a path of its own, such as "cargoLock.outputHashes.".
	prefix  string
	entries []hashEntry
	// optional says why a git dependency needs no hash here; empty where each needs one.
	optional string
	// unreadable says why the table cannot be read, which is not a fault of it.
	unreadable string
}

// hashEntry is "name-version" = "hash";
type hashEntry struct {
	name string
	// hash is empty where the value is an expression, such as lib.fakeHash.
	hash       string
	expression string
	line       int
}

// ofCrane tells whether the entry is for crane, which names a source as Cargo.lock writes it.
func (e hashEntry) ofCrane() bool { return strings.HasPrefix(e.name, "git+") }

// tables returns the tables of the file, each with the properties of the set that it is in.
func (f *hashFile) tables(lock string) []hashTable {
	var all []hashTable
	for _, s := range f.sets {
		switch other := f.otherLock(s.lockFile, lock); {
		case s.table == nil && len(s.dotted) == 0:
		case other != "":
			all = append(all, hashTable{file: f.file, line: s.line, unreadable: fmt.Sprintf("outputHashes is for %s, not for %s", other, lock)})
		default:
			all = append(all, f.table(s))
		}
	}
	defined := len(all) > 0
	for _, s := range f.sets {
		t := hashTable{file: f.file, line: s.line}
		switch {
		case s.table != nil || len(s.dotted) > 0 || f.otherLock(s.lockFile, lock) != "":
			continue
		case s.inherits && (defined && !f.given["outputHashes"]):
			continue // it inherits a table of this file
		case s.inherits:
			t.unreadable = "outputHashes comes from elsewhere"
		case s.lockFile == "":
			continue
		case s.fetchGit != "" && s.fetchGit != "false":
			t.unreadable = s.whyOptional()
		case s.merged:
			t.unreadable = "the set with lockFile is merged with another, which may have the hashes"
		case !defined:
			t.line = 1
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return []hashTable{{file: f.file, line: 1, unreadable: f.withoutTable()}}
	}
	return all
}

// withoutTable says why a file without outputHashes and without a lock file cannot be checked.
func (f *hashFile) withoutTable() string {
	for _, t := range f.tokens {
		switch name := t.Text[strings.LastIndexByte(t.Text, '.')+1:]; name {
		case "cargoHash", "cargoSha256", "fetchCargoVendor", "fetchCargoTarball":
			return name + " has the hash of all dependencies"
		}
	}
	return "it has no outputHashes and no lockFile"
}

// otherLock returns the lock file of a set where it is not that of the contract. A path that an expression computes is
// assumed to be that of the contract.
func (f *hashFile) otherLock(lockFile, lock string) string {
	if !plainPath.MatchString(lockFile) {
		return ""
	}
	if at := path.Join(path.Dir(f.file), lockFile); at != path.Clean(lock) {
		return at
	}
	return ""
}

var plainPath = regexp.MustCompile(`^\.\.?/[\w./+-]+$`)

// whyOptional says why a git dependency needs no hash in the set; empty where each needs one.
func (s *cargoSet) whyOptional() string {
	switch {
	case s.fetchGit == "true":
		return "allowBuiltinFetchGit needs no hashes"
	case s.fetchGit != "" && s.fetchGit != "false":
		return "allowBuiltinFetchGit is not written as true or false"
	case s.merged:
		return "the set is merged with another, which may have it"
	}
	return ""
}

// table reads the table of a set.
func (f *hashFile) table(s *cargoSet) hashTable {
	t := hashTable{file: f.file, line: s.line, optional: s.whyOptional()}
	hasLock := s.lockFile != ""
	for _, other := range f.sets { // any of them may use a table that a name is bound to
		if hasLock = hasLock || other.lockFile != ""; s.lockFile == "" && other.inherits {
			t.optional = cmp.Or(t.optional, other.whyOptional())
		}
	}
	if s.table != nil {
		t.line = s.table.Line
		t.entries, t.last, t.unreadable = f.entries(s.table.Value, 0)
	}
	for _, b := range s.dotted {
		t.entries, t.prefix = append(t.entries, f.entry(b)), s.prefix
		t.last = max(t.last, b.Line)
		t.line = min(t.line, b.Line)
	}
	switch {
	case slices.ContainsFunc(t.entries, hashEntry.ofCrane):
		t.optional = cmp.Or(t.optional, "crane fetches what has no hash")
	case len(t.entries) == 0 && !hasLock:
		t.optional = cmp.Or(t.optional, "nothing in the file says which lock file the table is for")
	}
	return t
}

// maxNames is how many names are followed to a table, and how deep operands may nest.
const maxNames = 8

// entries reads a value of outputHashes: a set, several that are merged, or a name of one. It returns the last line of
// the set, 0 where it is not a single set, and the reason where the value cannot be read.
func (f *hashFile) entries(value []nixtext.Token, depth int) (all []hashEntry, last int, opaque string) {
	value = nixtext.Unwrap(value)
	opaque = fmt.Sprintf("outputHashes is made by %q, which is not read without Nix", f.source(value))
	if parts := nixtext.Operands(value); len(parts) > 1 && depth < maxNames {
		for _, part := range parts {
			more, _, why := f.entries(part, depth+1)
			if why != "" {
				return nil, 0, why
			}
			all = slices.DeleteFunc(all, func(e hashEntry) bool {
				return slices.ContainsFunc(more, func(m hashEntry) bool { return m.name == e.name })
			})
			all = append(all, more...)
		}
		return all, 0, ""
	}
	if len(value) == 1 && value[0].Kind == nixtext.Word && depth < maxNames {
		if b := f.bound[value[0].Text]; len(b) == 1 && !f.given[value[0].Text] {
			return f.entries(b[0].Value, depth+1)
		}
	}
	found, complete, ok := nixtext.Set(value)
	if !ok || !complete {
		return nil, 0, opaque
	}
	for _, b := range found {
		all = append(all, f.entry(b))
	}
	return all, value[len(value)-1].Line, ""
}

func (f *hashFile) entry(b nixtext.Binding) hashEntry {
	e := hashEntry{name: b.Name(), line: b.Line}
	value := nixtext.Unwrap(b.Value)
	if len(value) == 1 && value[0].Kind == nixtext.Word {
		if named := f.bound[value[0].Text]; len(named) == 1 && !f.given[value[0].Text] {
			value = nixtext.Unwrap(named[0].Value)
		}
	}
	if len(value) == 1 && value[0].Kind == nixtext.String && !value[0].Interpolated {
		e.hash = strings.TrimSpace(value[0].Text)
		return e
	}
	e.expression = f.source(value)
	return e
}
