package contract

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// check compares the tables of hashes with Cargo.lock and with each other. It needs no Nix.
func (h *Hashes) check(tree string) []Result {
	packages, err := gitPackages(tree, h.Lock)
	if err != nil {
		return []Result{failed("hashes", h.Lock, err)}
	}
	var results, incomplete, unread []Result
	var all []hashTable
	for _, file := range h.Files {
		tables, err := readHashes(tree, file, h.Lock)
		if err != nil {
			results = append(results, failed("hashes/"+file, file, err))
			continue
		}
		var opaque, values, stale []Result
		var readable []hashTable
		for _, t := range tables {
			if t.unreadable != "" {
				opaque = append(opaque, Result{Status: Skip, Reason: t.unreadable, File: file, Line: t.line})
				continue
			}
			readable = append(readable, t)
			values = append(values, t.values()...)
			stale = append(stale, t.stale(packages, h.Lock)...)
		}
		if len(opaque) > 0 {
			results = append(results, passUnless("hashes/"+file, opaque))
			unread = append(unread, Result{Status: Skip, Reason: "hashes of " + file + " could not be read", File: file, Line: opaque[0].Line})
		}
		if len(readable) > 0 {
			results = append(results, passUnless("hashes/"+file+"/values", values), passUnless("hashes/"+file+"/stale", stale))
			all = append(all, readable...)
		}
	}
	for i, t := range all {
		incomplete = append(incomplete, t.missing(packages, all)...)
		if i+1 == len(all) || all[i+1].file != t.file {
			results = append(results, passUnless("hashes/"+t.file+"/complete", incomplete))
			incomplete = nil
		}
	}
	return append(results, passUnless("hashes/equal", append(unequal(all, packages), unread...)))
}

// passUnless returns one result for a check: the worst of those found, or a pass where there is none. A result without a
// status is a failure. Where several are equally bad, the result has the line of the first and the reasons of all.
func passUnless(check string, found []Result) Result {
	for _, status := range []Status{Fail, Warn, Skip} {
		var r *Result
		for _, f := range found {
			switch {
			case cmp.Or(f.Status, Fail) != status:
			case r == nil:
				f.Check, f.Status = check, status
				r = &f
			default:
				r.Reason += "; " + f.Reason
				r.Fix = strings.TrimSpace(r.Fix + "\n" + f.Fix)
			}
		}
		if r != nil {
			return *r
		}
	}
	return Result{Check: check, Status: Pass}
}

// values returns results for the entries without a hash, and for those whose hash only Nix can evaluate.
func (t hashTable) values() (found []Result) {
	for _, e := range t.entries {
		r := Result{File: t.file, Line: e.line, Wanted: "sha256-…", Found: cmp.Or(e.expression, e.hash), Fix: "build once; the error states the right value"}
		switch hash, err := parseHash(e.hash); {
		case e.expression != "" && !placeholder.MatchString(e.expression):
			r.Status, r.Fix = Skip, ""
			r.Reason = fmt.Sprintf("%s has %s instead of a hash, which is not read without Nix", e.name, e.expression)
		case e.expression != "":
			r.Reason = fmt.Sprintf("%s has %s instead of a hash", e.name, e.expression)
		case err != nil || hash.SRI() == fakeHash:
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
		if commitOf(packages, e.name) != "" {
			continue
		}
		r := Result{
			Reason: fmt.Sprintf("%s is no git dependency in %s", e.name, lock), File: t.file, Line: e.line,
			Wanted: names(packages), Found: e.name, Fix: fmt.Sprintf("remove line %d of %s", e.line, t.file),
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
		if reported[p.commit] || t.entryFor(packages, p.commit) != nil {
			continue
		}
		reported[p.commit] = true
		r := Result{
			Reason: fmt.Sprintf("no hash of %s, from %s at %.7s", p.name, p.source, p.commit), File: t.file, Line: max(t.last, t.line),
			Wanted: p.name, Found: strings.Join(t.names(), " "),
			Fix: fmt.Sprintf("%s%q = \"sha256-…\"; with the value that the build states", t.prefix, p.name),
		}
		if e := anyEntryFor(tables, packages, p.commit); e != nil {
			r.Fix = fmt.Sprintf("%s%q = %q;", t.prefix, e.name, e.hash)
		}
		if t.optional != "" {
			r.Status, r.Reason, r.Fix = Skip, r.Reason+", and "+t.optional, ""
		}
		broken = append(broken, r)
	}
	return broken
}

// parseHash parses a hash in any form that Nix accepts: an SRI hash may lack its padding.
func parseHash(s string) (nix.Hash, error) {
	if _, digest, ok := strings.Cut(s, "-"); ok && !strings.HasSuffix(s, "=") {
		s += strings.Repeat("=", -len(digest)&3)
	}
	return nix.ParseHash(s)
}

func isHash(s string) bool {
	_, err := parseHash(s)
	return err == nil
}

// sameHash compares two hashes in any form.
func sameHash(a, b string) bool {
	h, err := parseHash(a)
	g, errB := parseHash(b)
	return a == b || err == nil && errB == nil && h.Equal(g)
}

// unequal returns results for the differences between tables.
func unequal(tables []hashTable, packages []gitPackage) (broken []Result) {
	for i, t := range tables {
		for _, e := range t.entries {
			commit := commitOf(packages, e.name)
			if commit == "" || !isHash(e.hash) {
				continue // reported by values
			}
			for _, other := range tables[i:] {
				if f := other.entryFor(packages, commit); f != nil && isHash(f.hash) && !sameHash(f.hash, e.hash) {
					broken = append(broken, Result{
						Reason: fmt.Sprintf("%s differs from %s in %s:%d", e.name, f.name, other.file, f.line),
						File:   t.file, Line: e.line, Wanted: f.hash, Found: e.hash, Fix: "build once; the error states which is right",
					})
				}
			}
			if without := tableWithout(tables, e.name, commit, packages); without != nil && !e.ofCrane() {
				broken = append(broken, Result{
					Reason: fmt.Sprintf("%s is not in %s", e.name, without.file), File: without.file, Line: max(without.last, without.line),
					Wanted: e.name, Found: strings.Join(without.names(), " "), Fix: fmt.Sprintf("%s%q = %q;", without.prefix, e.name, e.hash),
				})
			}
		}
	}
	return broken
}

// tableWithout returns a table that has a hash for the commit, but not under that name. A table without any hash for the
// commit is reported as incomplete, and one with optional hashes needs no name.
func tableWithout(tables []hashTable, name, commit string, packages []gitPackage) *hashTable {
	for i, t := range tables {
		if t.optional == "" && t.entryFor(packages, commit) != nil && !slices.Contains(t.names(), name) {
			return &tables[i]
		}
	}
	return nil
}

// entryFor returns the table's entry for a commit, or nil.
func (t hashTable) entryFor(packages []gitPackage, commit string) *hashEntry {
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

// anyEntryFor returns an entry of any table with a hash for the commit, or nil.
func anyEntryFor(tables []hashTable, packages []gitPackage, commit string) *hashEntry {
	for _, t := range tables {
		if e := t.entryFor(packages, commit); e != nil && e.hash != "" {
			return e
		}
	}
	return nil
}

// commitOf returns the commit of a package, by its name in outputHashes; empty where there is no such package.
func commitOf(packages []gitPackage, name string) string {
	if p := packageNamed(packages, name); p != nil {
		return p.commit
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
