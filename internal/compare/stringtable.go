package compare

import (
	"debug/elf"
	"slices"
	"strings"
)

// A table of strings is compared up to this size in bytes, and so many of its strings that the other file does not have.
const (
	maxStringTable = 4 << 20
	maxOddStrings  = 64
)

// stringTables are the sections of an ELF file that are lists of strings, which linkers put in the order of their
// hashes: a path that is another one moves all the others. The first two tell most, and may be compressed.
var stringTables = []string{".debug_line_str", ".debug_str", ".comment", ".strtab"}

// stringTableEvidence compares the strings of two ELF files as sets, as far as the tables were kept: at the same offset
// there are strings that have nothing to do with each other.
func stringTableEvidence(o Options, a, b *places) []Evidence {
	if a.elf == nil || b.elf == nil {
		return nil
	}
	var found []Evidence
	for _, name := range stringTables {
		left, right := stringTable(a.elf, name), stringTable(b.elf, name)
		oddA, oddB := missingFrom(left, right), missingFrom(right, left)
		for _, p := range pairUp(oddA, oddB) {
			for _, e := range textEvidence(o, p[0], p[1]) {
				e.Place = "section " + name
				found = append(found, e)
			}
		}
	}
	return found
}

// stringTable returns the strings of a section. It is empty where there is none, or not all of it was kept.
func stringTable(f *elf.File, name string) []string {
	s := f.Section(name)
	if s == nil || s.Size > maxStringTable || s.Type == elf.SHT_NOBITS {
		return nil
	}
	data, err := s.Data() // which unpacks it, up to the size that was looked at
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\x00")
}

// missingFrom returns the strings of a list that another one has not, without those too short to tell anything: in order,
// and the first of them, so that those of two lists belong together although linkers put them elsewhere.
func missingFrom(list, other []string) []string {
	has := make(map[string]bool, len(other))
	for _, s := range other {
		has[s] = true
	}
	var odd []string
	for _, s := range list {
		if len(s) >= minString && !has[s] {
			has[s] = true
			odd = append(odd, s)
		}
	}
	slices.Sort(odd)
	return odd[:min(len(odd), maxOddStrings)]
}

// pairUp finds for each string the one of the other list that it has most in common with, where that is much.
func pairUp(a, b []string) [][2]string {
	var pairs [][2]string
	for _, x := range a {
		best, most := -1, len(x)/2
		for i, y := range b {
			if n := inCommon(x, y); n > most {
				best, most = i, n
			}
		}
		if best >= 0 {
			pairs = append(pairs, [2]string{x, b[best]})
			b = slices.Delete(slices.Clone(b), best, best+1)
		}
	}
	return pairs
}

// inCommon is how many bytes two strings have in common at their beginnings and ends.
func inCommon(a, b string) int {
	low, highA, _ := differingPart(a, b)
	return low + len(a) - highA
}
