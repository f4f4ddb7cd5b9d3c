package contract

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// cargoSet is an attribute set with hashes or a lock file, such as cargoLock of nixpkgs.
type cargoSet struct {
	line     int
	lockFile string // as it is written; empty where there is none
	fetchGit string // the value of allowBuiltinFetchGit, as it is written
	table    *nixtext.Binding
	dotted   []nixtext.Binding // entries that are bindings of their own: outputHashes."foo-0.1.0" = "…";
	prefix   string            // of those
	inherits bool              // inherit outputHashes;
	merged   bool              // an operand of //, so that there may be more
}

// hashFile is a Nix file that is searched for tables of hashes.
type hashFile struct {
	file, text string
	tokens     []nixtext.Token
	scopes     []*scope
	sets       []*cargoSet
	values     map[int]*cargoSet            // by the index of the token that begins the set
	bound      map[string][]nixtext.Binding // the bindings of let and of recursive sets
	given      map[string]bool              // names without a value in the file: arguments of functions, inherit (from)
}

// scope is a let or an attribute set around the current token.
type scope struct {
	isLet, isRec bool
	sets         map[string]*cargoSet // by the path before outputHashes, lockFile and so on
}

// readHashes returns the tables of hashes in a file, for the Cargo.lock of that path in the tree. A file that uses the
// lock file without hashes has an empty table at its first line.
func readHashes(tree, file, lock string) ([]hashTable, error) {
	data, err := regular.Read(filepath.Join(tree, file), maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	return parseHashes(file, string(data), lock), nil
}

func parseHashes(file, text, lock string) []hashTable {
	f := &hashFile{
		file: file, text: text, tokens: nixtext.Scan(text), scopes: []*scope{{sets: map[string]*cargoSet{}}},
		values: map[int]*cargoSet{}, bound: map[string][]nixtext.Binding{}, given: map[string]bool{},
	}
	for i, t := range f.tokens {
		switch {
		case t.Kind == '{':
			f.open(i)
		case t.Is("let"):
			f.scopes = append(f.scopes, &scope{isLet: true, sets: map[string]*cargoSet{}})
		case t.Kind == '}', t.Is("in") && f.top().isLet:
			f.close(i)
		}
		f.binding(i)
	}
	return f.tables(lock)
}

func (f *hashFile) top() *scope { return f.scopes[len(f.scopes)-1] }

// at tells whether there is a token of that kind at i.
func (f *hashFile) at(i int, kind byte) bool {
	return i >= 0 && i < len(f.tokens) && f.tokens[i].Kind == kind
}

func (f *hashFile) open(i int) {
	s := &scope{isRec: i > 0 && f.tokens[i-1].Is("rec"), sets: map[string]*cargoSet{}}
	if set := f.values[i]; set != nil {
		s.sets[""] = set // cargoLock = { … }; and cargoLock.outputHashes = …; are one set
	}
	if f.at(i-1, '/') && f.at(i-2, '/') {
		f.set(s, "", f.tokens[i].Line).merged = true
	}
	f.scopes = append(f.scopes, s)
}

func (f *hashFile) close(i int) {
	if len(f.scopes) == 1 {
		return // braces that do not match
	}
	if f.at(i+1, '/') && f.at(i+2, '/') {
		for _, set := range f.top().sets {
			set.merged = true
		}
		f.set(f.top(), "", f.tokens[i].Line).merged = true
	}
	f.scopes = f.scopes[:len(f.scopes)-1]
}

// set returns the set of that path in the scope.
func (f *hashFile) set(s *scope, path string, line int) *cargoSet {
	if s.sets[path] == nil {
		s.sets[path] = &cargoSet{line: line}
		f.sets = append(f.sets, s.sets[path])
	}
	return s.sets[path]
}

// binding records the binding that begins at the token, if it is about hashes.
func (f *hashFile) binding(i int) {
	t := f.tokens[i]
	if t.Kind != nixtext.Word && t.Kind != nixtext.String {
		return
	}
	if t.Kind == nixtext.Word && (f.at(i-1, '{') || f.at(i-1, ',')) && (f.at(i+1, ',') || f.at(i+1, '?') || f.at(i+1, '}')) || f.at(i+1, ':') {
		f.given[t.Text] = true
		return
	}
	if !f.at(i-1, '{') && !f.at(i-1, ';') && (i == 0 || !f.tokens[i-1].Is("let")) {
		return
	}
	if t.Is("inherit") {
		f.inherit(i)
		return
	}
	names, end, ok := nixtext.AttributePath(f.tokens, i)
	if !ok || len(names) == 0 {
		return
	}
	value := f.tokens[end+1 : nixtext.ValueEnd(f.tokens, end+1)]
	last, before := names[len(names)-1], strings.Join(names[:len(names)-1], ".")
	b := nixtext.Binding{Path: names[len(names)-1:], Line: t.Line, Value: value}
	if s := f.top(); len(names) == 1 && (s.isLet || s.isRec) {
		f.bound[last] = append(f.bound[last], b)
	}
	switch k := slices.Index(names, "outputHashes"); {
	case k == len(names)-1:
		f.set(f.top(), before, t.Line).table = &b
	case k >= 0 && k == len(names)-2:
		s := f.set(f.top(), strings.Join(names[:k], "."), t.Line)
		s.dotted, s.prefix = append(s.dotted, b), strings.TrimPrefix(before+".", ".")
	case last == "lockFile" || last == "lockFileContents":
		s := f.set(f.top(), before, t.Line)
		s.lockFile, s.line = f.source(value), t.Line
	case last == "allowBuiltinFetchGit":
		s := f.set(f.top(), before, t.Line)
		s.fetchGit, s.line = f.source(value), t.Line
	case len(value) > 0 && value[0].Kind == '{' && !f.top().isLet:
		// open uses the set when it gets to the brace.
		if last == "cargoLock" {
			f.values[end+1] = f.set(f.top(), strings.Join(names, "."), t.Line)
		}
	}
}

// inherit records the names of the inherit at the token.
func (f *hashFile) inherit(i int) {
	from := f.at(i+1, '(')
	for j := i + 1; j < len(f.tokens) && f.tokens[j].Kind != ';'; j++ {
		name := f.tokens[j].Text
		switch name {
		case "outputHashes":
			s := f.set(f.top(), "", f.tokens[j].Line)
			s.inherits, s.line = true, f.tokens[j].Line
		case "lockFile":
			f.set(f.top(), "", f.tokens[j].Line).lockFile = "inherited"
		case "allowBuiltinFetchGit":
			f.set(f.top(), "", f.tokens[j].Line).fetchGit = "inherited"
		}
		f.given[name] = f.given[name] || from
	}
}

// source returns the text of a value on one line, cut for a message.
func (f *hashFile) source(value []nixtext.Token) string {
	if len(value) == 0 {
		return "nothing"
	}
	text := []rune(strings.Join(strings.Fields(f.text[value[0].Start:value[len(value)-1].End]), " "))
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
