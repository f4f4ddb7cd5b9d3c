package drvdiff

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxUses is how many uses of a source are listed.
const maxUses = 3

// mentions are the store objects that the builder, arguments and variables of a derivation name.
type mentions struct {
	first map[string]int      // by digest: the number of objects before it
	uses  map[string][]string // by digest: "env src", "builder", "arg 2"
	base  map[string]string   // by name: the base name of the first object with it
}

func mentionsOf(d *derivation) *mentions {
	m := &mentions{map[string]int{}, map[string][]string{}, map[string]string{}}
	m.scan("builder", d.Builder)
	for i, arg := range d.Args {
		m.scan("arg "+strconv.Itoa(i+1), arg)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		switch name {
		case "builder": // already scanned
		case structured:
			m.scan("structured attributes", d.Env[name])
		default:
			m.scan("env "+printable(bounded(name)), d.Env[name])
		}
	}
	return m
}

func (m *mentions) scan(use, text string) {
	const dir = string(nix.StoreDir) + "/"
	for {
		_, rest, ok := strings.Cut(text, dir)
		if !ok {
			return
		}
		text = rest
		base := text[:nameLength(text)]
		if len(base) < digestLength+2 || base[digestLength] != '-' || nixbase32.ValidateString(base[:digestLength]) != nil {
			continue
		}
		digest, name := base[:digestLength], base[digestLength+1:]
		if _, ok := m.first[digest]; !ok {
			m.first[digest] = len(m.first)
		}
		if uses := m.uses[digest]; len(uses) < maxUses && !slices.Contains(uses, use) {
			m.uses[digest] = append(uses, use)
		}
		if _, ok := m.base[name]; !ok {
			m.base[name] = base
		}
	}
}

// nameLength returns how many bytes at the beginning of a text are valid in the name of a store object.
func nameLength(text string) int {
	n := strings.IndexFunc(text, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return false
		}
		return !strings.ContainsRune("+-._?=", r)
	})
	if n < 0 {
		return len(text)
	}
	return n
}

// place returns the position of the first mention; the largest number if there is none.
func (m *mentions) place(digests ...string) int {
	place := math.MaxInt
	for _, digest := range digests {
		if at, ok := m.first[digest]; ok {
			place = min(place, at)
		}
	}
	return place
}
