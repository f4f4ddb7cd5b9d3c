package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// hashTable is the outputHashes of one file.
type hashTable struct {
	file    string
	line    int // where it begins; 0 where there is none
	last    int // where it ends
	entries []hashEntry
	// opaque says why it cannot be read; it may be sound all the same.
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

// check holds the tables of hashes against Cargo.lock and against each other. It needs no Nix.
func (h *Hashes) check(tree string) []Result {
	packages, err := gitPackages(tree, h.Lock)
	if err != nil {
		return []Result{failed("hashes", h.Lock, err)}
	}
	var results []Result
	var tables []hashTable
	for _, file := range h.Files {
		t, err := readHashes(tree, file)
		switch {
		case err != nil:
			results = append(results, failed("hashes/"+file, file, err))
			continue
		case t.opaque != "":
			results = append(results, Result{Check: "hashes/" + file, Status: Skip, Reason: t.opaque, File: file, Line: t.line})
			continue
		}
		tables = append(tables, t)
		results = append(results, orPass("hashes/"+file+"/values", t.values()))
		results = append(results, orPass("hashes/"+file+"/stale", t.stale(packages, h.Lock)))
	}
	for _, t := range tables {
		results = append(results, orPass("hashes/"+t.file+"/complete", t.missing(packages, tables)))
	}
	return append(results, orPass("hashes/equal", unequal(tables, packages)))
}

// orPass returns the broken promise, or one that is kept where there is none.
// One result a check: the first shows what to do, and the others are told with it.
func orPass(check string, broken []Result) Result {
	if len(broken) == 0 {
		return Result{Check: check, Status: Pass}
	}
	first := broken[0]
	first.Check, first.Status = check, Fail
	for _, more := range broken[1:] {
		first.Reason += "; " + more.Reason
		first.Mend += "\n" + more.Mend
	}
	first.Mend = strings.TrimSpace(first.Mend)
	return first
}

// values tells the entries that hold no hash.
func (t hashTable) values() (broken []Result) {
	for _, e := range t.entries {
		wanted := "sha256-…"
		switch hash, err := nix.ParseHash(e.hash); {
		case e.hash == "" && e.expression != "":
			broken = append(broken, Result{
				Reason: fmt.Sprintf("%s has %s in the place of a hash", e.name, e.expression), File: t.file, Line: e.line,
				Wanted: wanted, Found: e.expression, Mend: "build once; the error tells the right value",
			})
		case err != nil || hash.SRI() == fakeHash:
			broken = append(broken, Result{
				Reason: fmt.Sprintf("%s has no real hash", e.name), File: t.file, Line: e.line,
				Wanted: wanted, Found: e.hash, Mend: "build once; the error tells the right value",
			})
		}
	}
	return broken
}

// fakeHash is lib.fakeHash.
const fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// stale tells the entries that no package of the lock has: nixpkgs refuses to evaluate them.
func (t hashTable) stale(packages []gitPackage, lock string) (broken []Result) {
	for _, e := range t.entries {
		if commitOf(packages, e.name) != "" {
			continue
		}
		broken = append(broken, Result{
			Reason: fmt.Sprintf("%s is no git dependency in %s", e.name, lock), File: t.file, Line: e.line,
			Wanted: names(packages), Found: e.name, Mend: fmt.Sprintf("remove line %d of %s", e.line, t.file),
		})
	}
	return broken
}

// missing tells the git sources for which the table has no hash. The hash of any package of the same commit will do.
func (t hashTable) missing(packages []gitPackage, tables []hashTable) (broken []Result) {
	told := map[string]bool{}
	for _, p := range packages {
		if told[p.commit] || t.of(packages, p.commit) != nil {
			continue
		}
		told[p.commit] = true
		r := Result{
			Reason: fmt.Sprintf("no hash of %s, from %s at %.7s", p.name, p.source, p.commit), File: t.file, Line: max(t.last, t.line),
			Wanted: p.name, Found: strings.Join(t.names(), " "),
			Mend: fmt.Sprintf("%q = \"sha256-…\"; with the value that the build tells", p.name),
		}
		if e := known(tables, packages, p.commit); e != nil {
			r.Mend = fmt.Sprintf("%q = %q;", e.name, e.hash)
		}
		broken = append(broken, r)
	}
	return broken
}

func isHash(s string) bool {
	_, err := nix.ParseHash(s)
	return err == nil
}

// sameHash compares two hashes, in whatever form each is.
func sameHash(a, b string) bool {
	h, err := nix.ParseHash(a)
	g, errB := nix.ParseHash(b)
	return a == b || err == nil && errB == nil && h.Equal(g)
}

// unequal tells where two tables differ in what both may hold.
func unequal(tables []hashTable, packages []gitPackage) (broken []Result) {
	for i, t := range tables {
		for _, e := range t.entries {
			commit := commitOf(packages, e.name)
			if commit == "" || !isHash(e.hash) {
				continue // told already
			}
			for _, other := range tables[i:] {
				if f := other.of(packages, commit); f != nil && isHash(f.hash) && !sameHash(f.hash, e.hash) {
					broken = append(broken, Result{
						Reason: fmt.Sprintf("%s differs from %s in %s:%d", e.name, f.name, other.file, f.line),
						File:   t.file, Line: e.line, Wanted: f.hash, Found: e.hash, Mend: "build once; the error tells which is right",
					})
				}
			}
			if without := lacking(tables, e.name, commit, packages); without != nil {
				broken = append(broken, Result{
					Reason: fmt.Sprintf("%s is not in %s", e.name, without.file), File: without.file, Line: max(without.last, without.line),
					Wanted: e.name, Found: strings.Join(without.names(), " "), Mend: fmt.Sprintf("%q = %q;", e.name, e.hash),
				})
			}
		}
	}
	return broken
}

// lacking returns a table that has a hash for the commit, and none of that name.
// One that has no hash for the commit at all is told as incomplete.
func lacking(tables []hashTable, name, commit string, packages []gitPackage) *hashTable {
	for i, t := range tables {
		if t.of(packages, commit) != nil && !slices.Contains(t.names(), name) {
			return &tables[i]
		}
	}
	return nil
}

// of returns the table's entry for a commit, or nil.
func (t hashTable) of(packages []gitPackage, commit string) *hashEntry {
	for i, e := range t.entries {
		if commitOf(packages, e.name) == commit {
			return &t.entries[i]
		}
	}
	return nil
}

func (t hashTable) names() []string {
	var all []string
	for _, e := range t.entries {
		all = append(all, e.name)
	}
	return all
}

// known returns an entry of any table that has a hash for the commit, or nil.
func known(tables []hashTable, packages []gitPackage, commit string) *hashEntry {
	for _, t := range tables {
		if e := t.of(packages, commit); e != nil && e.hash != "" {
			return e
		}
	}
	return nil
}

// commitOf returns the commit of a package, by its name in outputHashes; empty where there is no such package.
func commitOf(packages []gitPackage, name string) string {
	for _, p := range packages {
		if p.name == name {
			return p.commit
		}
	}
	return ""
}

func names(packages []gitPackage) string {
	var all []string
	for _, p := range packages {
		all = append(all, p.name)
	}
	return strings.Join(all, " ")
}

// readHashes finds outputHashes = { … } in a file. A file without it has an empty table at its first line.
func readHashes(tree, file string) (hashTable, error) {
	data, err := os.ReadFile(filepath.Join(tree, file))
	if err != nil {
		return hashTable{}, fmt.Errorf("read %s: %w", file, cause(err))
	}
	t := hashTable{file: file, line: 1}
	all := tokens(string(data))
	for i, tok := range all {
		switch {
		case tok.kind == 'w' && tok.text == "allowBuiltinFetchGit" && value(all, i) == "true":
			t.opaque = "allowBuiltinFetchGit needs no hashes"
		case tok.kind != 'w' || tok.text != "outputHashes" && !strings.HasSuffix(tok.text, ".outputHashes"):
		case value(all, i) != "{":
			t.opaque = "outputHashes is no plain table in this file" // unless one follows
		default:
			return t.read(all, i), nil
		}
		if t.opaque != "" && t.line == 1 {
			t.line = tok.line
		}
	}
	return t, nil
}

// value returns the first token behind NAME =, or nothing where there is none.
func value(all []token, i int) string {
	if i+2 >= len(all) || all[i+1].kind != '=' {
		return ""
	}
	return all[i+2].text
}

// read takes the entries of the table whose name is at all[i].
func (t hashTable) read(all []token, i int) hashTable {
	t.opaque, t.line = "", all[i].line
	found, end, ok := bindings(all, i+2)
	if !ok {
		t.opaque = "outputHashes holds more than names and hashes"
		return t
	}
	t.last = all[end-1].line
	for _, b := range found {
		t.entries = append(t.entries, entryOf(b))
	}
	return t
}

func entryOf(b binding) hashEntry {
	e := hashEntry{name: b.name, line: b.line}
	if len(b.value) == 1 && b.value[0].kind == 's' && !b.value[0].open {
		e.hash = b.value[0].text
		return e
	}
	for _, t := range b.value {
		e.expression += t.text
	}
	return e
}
