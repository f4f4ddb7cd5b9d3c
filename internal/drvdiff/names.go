package drvdiff

import (
	"strconv"
	"strings"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// mark is before and after a token. No string of a derivation contains it: an environment cannot.
const mark = "\x00"

const digestLength = 32

// names replaces the store paths that correspond by the same token on both sides. Two texts are then equal if they differ
// only in the digests of these paths.
type names struct {
	a, b               []string // base name, token, base name, token … as [strings.NewReplacer] takes them
	seenA, seenB       map[string]bool
	shownA, shownB     []string // by token: the text to show
	replaceA, replaceB *strings.Replacer
}

func newNames() *names { return &names{seenA: map[string]bool{}, seenB: map[string]bool{}} }

// same records that two base names correspond.
func (n *names) same(a, b, shownA, shownB string) {
	if a == b || a == "" || b == "" || n.seenA[a] || n.seenB[b] {
		return
	}
	n.seenA[a], n.seenB[b] = true, true
	token := mark + strconv.Itoa(len(n.shownA)) + mark
	n.a, n.b = append(n.a, a, token), append(n.b, b, token)
	n.shownA, n.shownB = append(n.shownA, "…-"+shownA), append(n.shownB, "…-"+shownB)
	n.replaceA, n.replaceB = nil, nil
}

func (n *names) samePath(a, b nix.StorePath) { n.same(a.Base(), b.Base(), a.Name(), b.Name()) }

func (n *names) inA(text string) string {
	if n.replaceA == nil {
		n.replaceA = strings.NewReplacer(n.a...)
	}
	return n.replaceA.Replace(text)
}

func (n *names) inB(text string) string {
	if n.replaceB == nil {
		n.replaceB = strings.NewReplacer(n.b...)
	}
	return n.replaceB.Replace(text)
}

// spell replaces tokens by the names to show.
func spell(text string, shown []string) string {
	parts := strings.Split(text, mark)
	for i := 1; i < len(parts); i += 2 {
		if token, err := strconv.Atoi(parts[i]); err == nil && token < len(shown) {
			parts[i] = shown[token]
		}
	}
	return strings.Join(parts, "")
}

// plainName is the name of a source without a digest at its beginning: "./." in a flake is
// "/nix/store/<digest>-source"; some versions of Nix make it "/nix/store/<digest>-<digest>-source".
func plainName(source nix.StorePath) string {
	name := source.Name()
	for len(name) > digestLength+1 && name[digestLength] == '-' && nixbase32.ValidateString(name[:digestLength]) == nil {
		name = name[digestLength+1:]
	}
	return name
}

// versionless is the name that builtins.parseDrvName returns: the part before the first dash that no letter follows.
func versionless(name string) string {
	for i := 0; i+1 < len(name); i++ {
		if c := name[i+1]; name[i] == '-' && (c < 'A' || c > 'Z' && c < 'a' || c > 'z') {
			return name[:i]
		}
	}
	return name
}
