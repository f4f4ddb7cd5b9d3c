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

// cargoSet is what an attribute set has of hashes and of a lock file, such as cargoLock of nixpkgs.
type cargoSet struct {
	line     int
	lockFile string            // as it is written; empty where there is none
	fetchGit string            // the value of allowBuiltinFetchGit, as it is written
	table    []nixtext.Binding // outputHashes = …;
	dotted   []nixtext.Binding // entries that are separate bindings: outputHashes."foo-0.1.0" = "…";
	prefix   string            // of those
	inherits bool              // inherit outputHashes;
	isMerged bool              // an operand of //, so that there may be more
}

func (s *cargoSet) hasTable() bool { return len(s.table)+len(s.dotted) > 0 }

// hashFile is a Nix file that is searched for tables of hashes.
type hashFile struct {
	file, lock string
	sets       []*cargoSet
	bound      map[string][]nixtext.Value // the bindings of let and of recursive sets
	given      map[string]bool            // names without a value in the file: arguments of functions, inherit (from)
	vendored   string                     // a name of one hash for all dependencies
}

// parseHashes returns the tables of hashes in a Nix file, for the Cargo.lock of that path in the tree. A file that uses the
// lock file without hashes has an empty table at its first line.
func parseHashes(file, text, lock string) []hashTable {
	f := &hashFile{file: file, lock: lock, bound: map[string][]nixtext.Value{}, given: map[string]bool{}}
	f.visit(nixtext.Parse(text), false, false)
	return f.tables()
}

// visit collects the sets in a value. Another value follows or precedes it with // between them.
func (f *hashFile) visit(v nixtext.Value, isFollowed, isPreceded bool) {
	sets := map[string]*cargoSet{}
	f.collect(v, nil, sets)
	for path, s := range sets {
		s.isMerged = isFollowed || isPreceded && path == "" // what comes last replaces inner sets as a whole
	}
	f.note(v.Text)
	for _, name := range v.Arguments {
		f.given[name] = true
	}
	isMerge, last := v.Kind == nixtext.Merge, len(v.Parts)-1
	for i, part := range v.Parts {
		f.visit(part, i < last && isMerge || i == last && isFollowed, i > 0 && isMerge || i == 0 && isPreceded)
	}
}

// note remembers a name for one hash of all dependencies.
func (f *hashFile) note(name string) {
	switch name = name[strings.LastIndexByte(name, '.')+1:]; name {
	case "cargoHash", "cargoSha256", "fetchCargoVendor", "fetchCargoTarball":
		f.vendored = cmp.Or(f.vendored, name)
	}
}

// collect adds the bindings of a value to the sets, which are named by the path before outputHashes, lockFile and so on:
// cargoLock = { … }; and cargoLock.outputHashes = …; are one set.
func (f *hashFile) collect(v nixtext.Value, prefix []string, sets map[string]*cargoSet) {
	for _, b := range v.Bindings {
		names := slices.Concat(prefix, b.Path)
		last := names[len(names)-1]
		set := func(n int) *cargoSet { // the one whose path is the first names
			path := strings.Join(names[:n], ".")
			if sets[path] == nil {
				sets[path] = &cargoSet{line: b.Line}
				f.sets = append(f.sets, sets[path])
			}
			return sets[path]
		}
		f.note(last)
		switch {
		case b.IsInherited():
			f.given[last] = f.given[last] || b.Value.Kind == nixtext.InheritedFrom
		case len(b.Path) == 1 && (v.Kind == nixtext.Let || v.IsRecursive):
			f.bound[last] = append(f.bound[last], b.Value)
		}
		switch at := len(names) - 1; {
		case last == "outputHashes" && b.IsInherited():
			set(at).inherits, set(at).line = true, b.Line
		case last == "outputHashes":
			set(at).table = []nixtext.Binding{b}
		case at > 0 && names[at-1] == "outputHashes":
			s := set(at - 1)
			s.dotted, s.prefix = append(s.dotted, nixtext.Binding{Path: names[at:], Line: b.Line, Value: b.Value}), strings.Join(b.Path[:len(b.Path)-1], ".")+"."
		case last == "lockFile" || last == "lockFileContents":
			set(at).lockFile, set(at).line = source(b.Value), b.Line
		case last == "allowBuiltinFetchGit":
			set(at).fetchGit, set(at).line = source(b.Value), b.Line
		case last == "cargoLock" && b.Value.Kind == nixtext.Set:
			set(len(names))
			f.collect(b.Value, names, sets)
			continue
		}
		f.visit(b.Value, false, false)
	}
}

// source returns a value as it is written, on one line, cut for a message.
func source(v nixtext.Value) string {
	text := []rune(strings.Join(strings.Fields(v.Source), " "))
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return cmp.Or(string(text), "nothing")
}

// tables returns the tables of the file, each with the properties of the set that it is in.
func (f *hashFile) tables() (all []hashTable) {
	hasTable := slices.ContainsFunc(f.sets, (*cargoSet).hasTable)
	for _, s := range f.sets {
		switch other := f.otherLock(s); {
		case s.hasTable() && other != "":
			all = append(all, f.unreadable(s.line, fmt.Sprintf("outputHashes is for %s, not for %s", other, f.lock)))
		case s.hasTable():
			all = append(all, f.table(s))
		case other != "", s.inherits && hasTable && !f.given["outputHashes"]:
		case s.inherits:
			all = append(all, f.unreadable(s.line, "outputHashes comes from elsewhere"))
		case s.lockFile == "":
		case s.whyOptional() != "":
			all = append(all, f.unreadable(s.line, s.whyOptional()))
		case hasTable:
			all = append(all, hashTable{file: f.file, line: s.line})
		default:
			all = append(all, hashTable{file: f.file, line: 1})
		}
	}
	switch {
	case len(all) > 0:
		return all
	case f.vendored != "":
		return []hashTable{f.unreadable(1, f.vendored+" has the hash of all dependencies")}
	}
	return []hashTable{f.unreadable(1, "it has no outputHashes and no lockFile")}
}

// unreadable returns a table that cannot be read. That is not an error of the table.
func (f *hashFile) unreadable(line int, reason string) hashTable {
	return hashTable{file: f.file, line: line, unreadable: &Result{Status: Skip, Reason: reason, File: f.file, Line: line}}
}

// otherLock returns the lock file of a set where it is not that of the contract. A path that an expression computes is
// assumed to be that of the contract.
func (f *hashFile) otherLock(s *cargoSet) string {
	at := path.Join(path.Dir(f.file), s.lockFile)
	if !plainPath.MatchString(s.lockFile) || at == path.Clean(f.lock) {
		return ""
	}
	return at
}

var plainPath = regexp.MustCompile(`^\.\.?/[\w./+-]+$`)

// whyOptional says why a git dependency needs no hash in the set; empty where each needs one.
func (s *cargoSet) whyOptional() string {
	switch {
	case s.fetchGit == "true":
		return "allowBuiltinFetchGit needs no hashes"
	case s.fetchGit != "" && s.fetchGit != "false":
		return "allowBuiltinFetchGit is not written as true or false"
	case s.isMerged:
		return "the set with lockFile is merged with another, which may have the hashes"
	}
	return ""
}

// table reads the table of a set.
func (f *hashFile) table(s *cargoSet) hashTable {
	t := hashTable{file: f.file, line: s.line, prefix: s.prefix, optional: s.whyOptional()}
	hasLock := s.lockFile != ""
	for _, other := range f.sets { // any of them may use a table that a name is bound to
		if hasLock = hasLock || other.lockFile != ""; s.lockFile == "" && other.inherits {
			t.optional = cmp.Or(t.optional, other.whyOptional())
		}
	}
	for _, b := range s.table {
		var reason string
		t.line = b.Line
		if t.entries, t.last, reason = f.entries(b.Value, 0); reason != "" {
			return f.unreadable(b.Line, reason)
		}
	}
	for _, b := range s.dotted {
		t.entries = append(t.entries, f.entry(b))
		t.last, t.line = max(t.last, b.Line), min(t.line, b.Line)
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
func (f *hashFile) entries(v nixtext.Value, depth int) (all []hashEntry, last int, reason string) {
	bound := f.named(v)
	switch {
	case depth < maxNames && bound.Source != v.Source:
		return f.entries(bound, depth+1)
	case depth < maxNames && v.Kind == nixtext.Merge:
		for _, operand := range v.Parts {
			more, _, reason := f.entries(operand, depth+1)
			if reason != "" {
				return nil, 0, reason
			}
			all = slices.DeleteFunc(all, func(e hashEntry) bool {
				return slices.ContainsFunc(more, func(m hashEntry) bool { return m.name == e.name })
			})
			all = append(all, more...)
		}
		return all, 0, ""
	case v.Kind != nixtext.Set || len(v.Parts) > 0 || slices.ContainsFunc(v.Bindings, nixtext.Binding.IsInherited):
		return nil, 0, fmt.Sprintf("outputHashes is made by %q, which is not read without Nix", source(v))
	}
	for _, b := range v.Bindings {
		all = append(all, f.entry(b))
	}
	return all, v.Last, ""
}

// named returns the value that a name is bound to, if there is one; otherwise the value itself.
func (f *hashFile) named(v nixtext.Value) nixtext.Value {
	if values := f.bound[v.Text]; v.Kind == nixtext.Name && len(values) == 1 && !f.given[v.Text] {
		return values[0]
	}
	return v
}

func (f *hashFile) entry(b nixtext.Binding) hashEntry {
	e := hashEntry{file: f.file, line: b.Line, name: b.Name()}
	if v := f.named(b.Value); v.Kind == nixtext.Text {
		e.hash = strings.TrimSpace(v.Text)
	} else {
		e.expression = source(v)
	}
	e.sri = sriOf(e.hash)
	return e
}
