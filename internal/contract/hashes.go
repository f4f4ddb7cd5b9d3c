package contract

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
)

// hashTable is one outputHashes of a file, as read without Nix.
type hashTable struct {
	file string
	line int // where it begins
	last int // the line of its closing brace, or of the last entry with its own path; 0 if there is none
	// prefix comes before the name of an entry with its own path, such as "cargoLock.outputHashes.".
	prefix  string
	entries []hashEntry
	// optional says why a git dependency needs no hash here; empty where each needs one.
	optional string
	// unreadable is the result where the table cannot be read.
	unreadable *Result
}

// hashEntry is "name-version" = "hash";
type hashEntry struct {
	file string
	line int
	name string
	// hash is as it is written; empty where the value is an expression, such as lib.fakeHash. sri is its SRI form; empty where
	// it is no hash.
	hash, sri  string
	expression string
	// source is the git dependency of that name; nil where the lock has none.
	source *gitPackage
}

// ofCrane reports whether the entry is for crane, which names a source as Cargo.lock writes it.
func (e hashEntry) ofCrane() bool { return strings.HasPrefix(e.name, "git+") }

// binding returns the entry with a prefix, as a table has it.
func (e hashEntry) binding(prefix string) string {
	return fmt.Sprintf("%s%q = %q;", prefix, e.name, e.hash)
}

// read returns the git dependencies of the lock, and the tables of all files. A file that cannot be read has an unreadable
// table.
func (h *Hashes) read(tree string) (packages []gitPackage, tables []hashTable, err error) {
	data, err := readFile(tree, h.Lock)
	if err == nil {
		packages, err = parseCargoLock(h.Lock, data)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, file := range h.Files {
		data, err := readFile(tree, file)
		if err != nil {
			tables = append(tables, hashTable{file: file, unreadable: &failure(file, err)[0]})
			continue
		}
		tables = append(tables, parseHashes(file, string(data), h.Lock)...)
	}
	for _, t := range tables {
		for i, e := range t.entries {
			t.entries[i].source = packageNamed(packages, e.name)
		}
	}
	return packages, tables, nil
}

// readFile reads a file of the tree.
func readFile(tree, file string) ([]byte, error) {
	data, err := regular.Read(filepath.Join(tree, file), maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	return data, nil
}

// check compares the tables of hashes with Cargo.lock and with each other. It needs no Nix.
func (h *Hashes) check(tree string) (found []Result) {
	packages, tables, err := h.read(tree)
	if err != nil {
		return failure(h.Lock, err)
	}
	var unread []Result
	readable := slices.DeleteFunc(slices.Clone(tables), func(t hashTable) bool { return t.unreadable != nil })
	for _, t := range tables {
		if t.unreadable != nil {
			found = append(found, below(t.file, *t.unreadable)...)
			if t.unreadable.Status == Skip {
				unread = append(unread, Result{Status: Skip, Reason: "hashes of " + t.file + " could not be read", File: t.file})
			}
			continue
		}
		found = append(found, below(t.file+"/values", t.values()...)...)
		found = append(found, below(t.file+"/stale", t.stale(packages, h.Lock)...)...)
		found = append(found, below(t.file+"/complete", t.missing(packages, readable)...)...)
	}
	return append(found, below("equal", append(unequal(readable), slices.Compact(unread)...)...)...)
}

// values returns results for the entries without a hash, and for those whose hash only Nix can evaluate.
func (t hashTable) values() (found []Result) {
	for _, e := range t.entries {
		r := Result{File: t.file, Line: e.line, Wanted: "sha256-…", Found: cmp.Or(e.expression, e.hash), Fix: "build once; the error states the right value"}
		switch {
		case e.expression != "" && !placeholder.MatchString(e.expression):
			r.Status, r.Fix = Skip, ""
			r.Reason = fmt.Sprintf("%s has %s instead of a hash, which is not read without Nix", e.name, e.expression)
		case e.expression != "":
			r.Reason = fmt.Sprintf("%s has %s instead of a hash", e.name, e.expression)
		case e.sri == "" || e.sri == fakeHash:
			r.Reason = fmt.Sprintf("%s has no real hash", e.name)
		default:
			continue
		}
		found = append(found, r)
	}
	return found
}

// placeholder matches the names of placeholders in nixpkgs.
var placeholder = regexp.MustCompile(`(^|\.)fake(Hash|Sha256|Sha512|SRI)$`)

// fakeHash is lib.fakeHash.
const fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// stale returns results for the entries that no package of the lock has: nixpkgs refuses to evaluate them.
func (t hashTable) stale(packages []gitPackage, lock string) (broken []Result) {
	for _, e := range t.entries {
		if e.source != nil {
			continue
		}
		r := Result{
			Reason: fmt.Sprintf("%s is no git dependency in %s", e.name, lock), File: t.file, Line: e.line,
			Wanted: names(packages, func(p gitPackage) string { return p.name }), Found: e.name, Fix: fmt.Sprintf("remove line %d of %s", e.line, t.file),
		}
		if e.ofCrane() {
			r.Status, r.Reason = Warn, r.Reason+", and crane does not use its hash"
		}
		broken = append(broken, r)
	}
	return broken
}

// missing returns results for the git sources without a hash in the table. All packages of a commit have the same hash.
func (t hashTable) missing(packages []gitPackage, tables []hashTable) (broken []Result) {
	reported := map[string]bool{}
	for _, p := range packages {
		if reported[p.commit] || t.entryFor(p.commit) != nil {
			continue
		}
		reported[p.commit] = true
		r := t.lacks(p.name, fmt.Sprintf("%s%q = \"sha256-…\"; with the value that the build states", t.prefix, p.name))
		r.Reason = fmt.Sprintf("no hash of %s, from %s at %.7s", p.name, p.source, p.commit)
		for _, other := range slices.Backward(tables) { // the entry of the first table wins
			if e := other.entryFor(p.commit); e != nil && e.hash != "" {
				r.Fix = e.binding(t.prefix)
			}
		}
		if t.optional != "" {
			r.Status, r.Reason, r.Fix = Skip, r.Reason+", and "+t.optional, ""
		}
		broken = append(broken, r)
	}
	return broken
}

// lacks returns the result for a table without an entry.
func (t hashTable) lacks(name, fix string) Result {
	return Result{
		Reason: fmt.Sprintf("%s is not in %s", name, t.file), File: t.file, Line: max(t.last, t.line), Wanted: name,
		Found: names(t.entries, func(e hashEntry) string { return e.name }), Fix: fix,
	}
}

// unequal returns results for the differences between tables.
func unequal(tables []hashTable) (broken []Result) {
	for i, t := range tables {
		for _, e := range t.entries {
			if e.source == nil || e.sri == "" {
				continue // values or stale reports it
			}
			for _, other := range tables[i:] {
				if o := other.entryFor(e.source.commit); o != nil && o.sri != "" && o.sri != e.sri {
					broken = append(broken, Result{
						Reason: fmt.Sprintf("%s differs from %s in %s:%d", e.name, o.name, o.file, o.line),
						File:   e.file, Line: e.line, Wanted: o.hash, Found: e.hash, Fix: "build once; the error states which is right",
					})
				}
			}
			// A table without any hash for the commit is reported as incomplete, and one with optional hashes needs no name.
			without := slices.IndexFunc(tables, func(t hashTable) bool {
				return t.optional == "" && t.entryFor(e.source.commit) != nil && !t.has(e.name)
			})
			if without >= 0 && !e.ofCrane() {
				broken = append(broken, tables[without].lacks(e.name, e.binding(tables[without].prefix)))
			}
		}
	}
	return broken
}

// entryFor returns the table's entry for a commit, or nil.
func (t hashTable) entryFor(commit string) *hashEntry {
	for i, e := range t.entries {
		if e.source != nil && e.source.commit == commit {
			return &t.entries[i]
		}
	}
	return nil
}

func (t hashTable) has(name string) bool {
	return slices.ContainsFunc(t.entries, func(e hashEntry) bool { return e.name == name })
}

// sriOf returns the SRI form of a hash in any form that Nix accepts: it may lack its padding. It is empty where it is no hash.
func sriOf(s string) string {
	if _, digest, ok := strings.Cut(s, "-"); ok && !strings.HasSuffix(s, "=") {
		s += strings.Repeat("=", -len(digest)&3)
	}
	hash, err := nix.ParseHash(s)
	if err != nil {
		return ""
	}
	return hash.SRI()
}

// names returns the names of a list, for a message.
func names[T any](list []T, name func(T) string) string {
	var all []string
	for _, e := range list {
		all = append(all, name(e))
	}
	return strings.Join(all, " ")
}

// gitPackage is a package of Cargo.lock that comes from a git repository.
type gitPackage struct {
	// name is "name-version", as in outputHashes.
	name string
	// key is the source as Cargo.lock has it. Crane uses it as a name.
	key string
	// source is the repository, for messages.
	source string
	// commit identifies a source in nixpkgs: packages of the same commit share a hash.
	commit string
	line   int // of the source in Cargo.lock
}

// parseCargoLock returns the packages that come from git.
func parseCargoLock(file string, data []byte) (all []gitPackage, err error) {
	var lock struct {
		Package []struct{ Name, Version, Source string }
	}
	if err := tomlfile.Unmarshal(file, data, &lock); err != nil {
		return nil, err
	}
	var lines []int // of the sources, in order: Cargo writes one key a line
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "source = ") {
			lines = append(lines, i+1)
		}
	}
	for _, p := range lock.Package {
		if p.Source == "" {
			continue
		}
		line := 0
		if len(lines) > 0 {
			line, lines = lines[0], lines[1:]
		}
		if source, ok := strings.CutPrefix(p.Source, "git+"); ok {
			url, commit, _ := strings.Cut(source, "#")
			url, _, _ = strings.Cut(url, "?") // the branch or tag does not matter
			all = append(all, gitPackage{name: p.Name + "-" + p.Version, key: p.Source, source: url, commit: commit, line: line})
		}
	}
	return all, nil
}

// packageNamed returns the package with that name in outputHashes, or nil.
func packageNamed(packages []gitPackage, name string) *gitPackage {
	for i, p := range packages {
		if p.name == name || p.key == name {
			return &packages[i]
		}
	}
	return nil
}
