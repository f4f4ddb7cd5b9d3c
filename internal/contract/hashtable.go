package contract

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// hashTable is one outputHashes of a file, as far as it can be read without Nix.
type hashTable struct {
	file string
	line int // where it begins
	last int // the line of its closing brace, or of the last entry that is a binding of its own; 0 where there is none
	// prefix stands before the name of an entry that is a binding of its own, such as "cargoLock.outputHashes.".
	prefix  string
	entries []hashEntry
	// mayLack says why a git dependency may do without a hash here; empty where none may.
	mayLack string
	// opaque says why the table cannot be read; it may be sound all the same.
	opaque string
}

// hashEntry is "name-version" = "hash";
type hashEntry struct {
	name string
	// hash is empty where the value is an expression, such as lib.fakeHash.
	hash       string
	expression string
	line       int
}

// ofCrane tells whether the entry is one of crane's, which knows a source as Cargo.lock writes it.
func (e hashEntry) ofCrane() bool { return strings.HasPrefix(e.name, "git+") }

// cargoSet is an attribute set with hashes or a lock file: what nixpkgs calls cargoLock.
type cargoSet struct {
	line     int
	lockFile string // as it is written; empty where there is none
	fetchGit string // the value of allowBuiltinFetchGit, as it is written
	table    *binding
	dotted   []binding // entries that are bindings of their own: outputHashes."foo-0.1.0" = "…";
	prefix   string    // of those
	inherits bool      // inherit outputHashes;
	merged   bool      // an operand of //, so that there may be more
}

// hashFile is a Nix file that is searched for tables of hashes.
type hashFile struct {
	file, text string
	tokens     []token
	scopes     []*scope
	sets       []*cargoSet
	values     map[int]*cargoSet    // by the index of the token at which the value begins that is this set
	bound      map[string][]binding // names that a let or a recursive set binds
	given      map[string]bool      // names that come from elsewhere: arguments of functions, inherit (from)
}

// scope is a let or an attribute set that is being read.
type scope struct {
	isLet, isRec bool
	sets         map[string]*cargoSet // by the path in front of outputHashes, lockFile and so on
}

// readHashes finds the tables of hashes in a file, for Cargo's lock file of that path in the tree.
// A file that uses the lock file without hashes has an empty table at its first line.
func readHashes(tree, file, lock string) ([]hashTable, error) {
	data, err := os.ReadFile(filepath.Join(tree, file))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	return parseHashes(file, string(data), lock), nil
}

func parseHashes(file, text, lock string) []hashTable {
	f := &hashFile{
		file: file, text: text, tokens: tokens(text), scopes: []*scope{{sets: map[string]*cargoSet{}}},
		values: map[int]*cargoSet{}, bound: map[string][]binding{}, given: map[string]bool{},
	}
	for i, t := range f.tokens {
		switch {
		case t.kind == '{':
			f.open(i)
		case t.is("let"):
			f.scopes = append(f.scopes, &scope{isLet: true, sets: map[string]*cargoSet{}})
		case t.kind == '}', t.is("in") && f.top().isLet:
			f.close(i)
		}
		f.binding(i)
	}
	return f.tables(lock)
}

func (f *hashFile) top() *scope { return f.scopes[len(f.scopes)-1] }

// at tells whether the token at i is of that kind; there is none beyond the ends of the file.
func (f *hashFile) at(i int, kind byte) bool {
	return i >= 0 && i < len(f.tokens) && f.tokens[i].kind == kind
}

func (f *hashFile) open(i int) {
	s := &scope{isRec: i > 0 && f.tokens[i-1].is("rec"), sets: map[string]*cargoSet{}}
	if set := f.values[i]; set != nil {
		s.sets[""] = set // cargoLock = { … }; and cargoLock.outputHashes = …; are one set
	}
	if f.at(i-1, '/') && f.at(i-2, '/') {
		f.set(s, "", f.tokens[i].line).merged = true
	}
	f.scopes = append(f.scopes, s)
}

func (f *hashFile) close(i int) {
	if len(f.scopes) == 1 {
		return // braces that do not match: no Nix
	}
	if f.at(i+1, '/') && f.at(i+2, '/') {
		for _, set := range f.top().sets {
			set.merged = true
		}
		f.set(f.top(), "", f.tokens[i].line).merged = true
	}
	f.scopes = f.scopes[:len(f.scopes)-1]
}

// set returns the set with that path in the scope.
func (f *hashFile) set(s *scope, path string, line int) *cargoSet {
	if s.sets[path] == nil {
		s.sets[path] = &cargoSet{line: line}
		f.sets = append(f.sets, s.sets[path])
	}
	return s.sets[path]
}

// binding notes what begins at the token, where that has to do with hashes.
func (f *hashFile) binding(i int) {
	t := f.tokens[i]
	if t.kind != 'w' && t.kind != 's' {
		return
	}
	if t.kind == 'w' && (f.at(i-1, '{') || f.at(i-1, ',')) && (f.at(i+1, ',') || f.at(i+1, '?') || f.at(i+1, '}')) || f.at(i+1, ':') {
		f.given[t.text] = true
		return
	}
	if !f.at(i-1, '{') && !f.at(i-1, ';') && (i == 0 || !f.tokens[i-1].is("let")) {
		return
	}
	if t.is("inherit") {
		f.inherit(i)
		return
	}
	names, end, ok := attributePath(f.tokens, i)
	if !ok || len(names) == 0 {
		return
	}
	value := f.tokens[end+1 : valueEnd(f.tokens, end+1)]
	last, before := names[len(names)-1], strings.Join(names[:len(names)-1], ".")
	b := binding{name: last, line: t.line, value: value}
	if s := f.top(); len(names) == 1 && (s.isLet || s.isRec) {
		f.bound[last] = append(f.bound[last], b)
	}
	switch k := slices.Index(names, "outputHashes"); {
	case k == len(names)-1:
		f.set(f.top(), before, t.line).table = &b
	case k >= 0 && k == len(names)-2:
		s := f.set(f.top(), strings.Join(names[:k], "."), t.line)
		s.dotted, s.prefix = append(s.dotted, b), strings.TrimPrefix(before+".", ".")
	case last == "lockFile" || last == "lockFileContents":
		s := f.set(f.top(), before, t.line)
		s.lockFile, s.line = f.source(value), t.line
	case last == "allowBuiltinFetchGit":
		s := f.set(f.top(), before, t.line)
		s.fetchGit, s.line = f.source(value), t.line
	case len(value) > 0 && value[0].kind == '{' && !f.top().isLet:
		// Its set is noted only where it turns out to have something.
		if last == "cargoLock" {
			f.values[end+1] = f.set(f.top(), strings.Join(names, "."), t.line)
		}
	}
}

// inherit notes the names that the inherit at the token takes from elsewhere.
func (f *hashFile) inherit(i int) {
	from := f.at(i+1, '(')
	for j := i + 1; j < len(f.tokens) && f.tokens[j].kind != ';'; j++ {
		name := f.tokens[j].text
		switch name {
		case "outputHashes":
			s := f.set(f.top(), "", f.tokens[j].line)
			s.inherits, s.line = true, f.tokens[j].line
		case "lockFile":
			f.set(f.top(), "", f.tokens[j].line).lockFile = "inherited"
		case "allowBuiltinFetchGit":
			f.set(f.top(), "", f.tokens[j].line).fetchGit = "inherited"
		}
		f.given[name] = f.given[name] || from
	}
}

// source returns the text of a value on one line, cut to what a message can show.
func (f *hashFile) source(value []token) string {
	if len(value) == 0 {
		return "nothing"
	}
	text := []rune(strings.Join(strings.Fields(f.text[value[0].start:value[len(value)-1].end]), " "))
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// tables are those of the file, each with what is known of the set that it is in.
func (f *hashFile) tables(lock string) []hashTable {
	var all []hashTable
	for _, s := range f.sets {
		switch other := f.otherLock(s.lockFile, lock); {
		case s.table == nil && len(s.dotted) == 0:
		case other != "":
			all = append(all, hashTable{file: f.file, line: s.line, opaque: fmt.Sprintf("outputHashes is for %s, not for %s", other, lock)})
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
			continue // from a table that was read
		case s.inherits:
			t.opaque = "outputHashes comes from elsewhere"
		case s.lockFile == "":
			continue
		case s.fetchGit != "" && s.fetchGit != "false":
			t.opaque = s.lacks()
		case s.merged:
			t.opaque = "the set with lockFile is merged with another, which may have the hashes"
		case !defined:
			t.line = 1
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return []hashTable{{file: f.file, line: 1, opaque: f.withoutTable()}}
	}
	return all
}

// withoutTable says why a file without outputHashes and without a lock file cannot be judged.
func (f *hashFile) withoutTable() string {
	for _, t := range f.tokens {
		switch name := t.text[strings.LastIndexByte(t.text, '.')+1:]; name {
		case "cargoHash", "cargoSha256", "fetchCargoVendor", "fetchCargoTarball":
			return name + " has the hash of all dependencies"
		}
	}
	return "it has no outputHashes and no lockFile"
}

// otherLock returns the lock file of a set where it is another one than that of the contract.
// A path that is made by an expression is taken for that one.
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

// lacks says why a git dependency may do without a hash in the set; empty where none may.
func (s *cargoSet) lacks() string {
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
	t := hashTable{file: f.file, line: s.line, mayLack: s.lacks()}
	hasLock := s.lockFile != ""
	for _, other := range f.sets { // a table that is named first may be used in any of them
		if hasLock = hasLock || other.lockFile != ""; s.lockFile == "" && other.inherits {
			t.mayLack = cmp.Or(t.mayLack, other.lacks())
		}
	}
	if s.table != nil {
		t.line = s.table.line
		t.entries, t.last, t.opaque = f.entries(s.table.value, 0)
	}
	for _, b := range s.dotted {
		t.entries, t.prefix = append(t.entries, f.entry(b)), s.prefix
		t.last = max(t.last, b.line)
		t.line = min(t.line, b.line)
	}
	switch {
	case slices.ContainsFunc(t.entries, hashEntry.ofCrane):
		t.mayLack = cmp.Or(t.mayLack, "crane fetches what has no hash")
	case len(t.entries) == 0 && !hasLock:
		t.mayLack = cmp.Or(t.mayLack, "nothing in the file says which lock file the table is for")
	}
	return t
}

// maxNames is how many names may lead from one to the next before a table.
const maxNames = 8

// entries reads a value of outputHashes: a set, several that are merged, or a name for such.
// It returns the line at which the set ends, 0 where it is not one set alone, and why the value cannot be read.
func (f *hashFile) entries(value []token, depth int) (all []hashEntry, last int, opaque string) {
	value = unwrap(value)
	opaque = fmt.Sprintf("outputHashes is made by %q, which is not read without Nix", f.source(value))
	if parts := operands(value); len(parts) > 1 {
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
	if len(value) == 1 && value[0].kind == 'w' && depth < maxNames {
		if b := f.bound[value[0].text]; len(b) == 1 && !f.given[value[0].text] {
			return f.entries(b[0].value, depth+1)
		}
	}
	if len(value) > 0 && value[0].is("rec") {
		value = value[1:]
	}
	if len(value) == 0 || value[0].kind != '{' {
		return nil, 0, opaque
	}
	found, end, ok := bindings(value, 0)
	if !ok || end != len(value) {
		return nil, 0, opaque
	}
	for _, b := range found {
		all = append(all, f.entry(b))
	}
	return all, value[end-1].line, ""
}

func (f *hashFile) entry(b binding) hashEntry {
	e := hashEntry{name: b.name, line: b.line}
	value := unwrap(b.value)
	if len(value) == 1 && value[0].kind == 'w' {
		if named := f.bound[value[0].text]; len(named) == 1 && !f.given[value[0].text] {
			value = unwrap(named[0].value)
		}
	}
	if len(value) == 1 && value[0].kind == 's' && !value[0].open {
		e.hash = strings.TrimSpace(value[0].text)
		return e
	}
	e.expression = f.source(value)
	return e
}

// unwrap takes away parentheses around a whole value.
func unwrap(value []token) []token {
	for len(value) > 1 && value[0].kind == '(' && closing(value) == len(value)-1 {
		value = value[1 : len(value)-1]
	}
	return value
}

// closing returns the index of what closes the bracket at the beginning.
func closing(value []token) int {
	depth := 0
	for i, t := range value {
		switch t.kind {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// operands cuts a value at each // that is in none of its brackets.
func operands(value []token) [][]token {
	var parts [][]token
	depth, from := 0, 0
	for i, t := range value {
		switch t.kind {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		case '/':
			if depth == 0 && i > 0 && i > from && value[i-1].kind == '/' && value[i-1].end == t.start {
				parts = append(parts, value[from:i-1])
				from = i + 1
			}
		}
	}
	return append(parts, value[from:])
}
