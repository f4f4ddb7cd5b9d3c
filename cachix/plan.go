package cachix

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Plan is what a push is going to do.
type Plan struct {
	// Push is what goes up, largest first: a large object that comes last would have all others wait for it at the end.
	Push []nix.PathInfo
	// There is what the cache has, or an upstream cache of it that the server knows.
	There []nix.StorePath
	// Upstream is what a cache that consumers have as well has signed, so that it need not be in this one.
	Upstream []nix.StorePath
	// Blocked is what refers to objects that are nowhere, or in a circle, and so cannot be made visible.
	Blocked []Blocked
	// Bytes is the size of what goes up, as NARs.
	Bytes int64
}

// Blocked is an object with the first of its references that is not to be had.
type Blocked struct{ Path, Reference nix.StorePath }

// Plan sorts store objects into those that have to be pushed and those that do not.
// Upstream names keys, such as "cache.nixos.org-1": what they have signed is not pushed.
func (c *Client) Plan(ctx context.Context, infos []nix.PathInfo, upstream []string) (Plan, error) {
	var plan Plan
	known := make(map[nix.StorePath]bool, len(infos)) // that it is visible, or going to be
	var ask []nix.StorePath
	for _, info := range infos {
		switch {
		case known[info.Path]: // named twice
		case isSignedUpstream(info, upstream):
			known[info.Path] = true
			plan.Upstream = append(plan.Upstream, info.Path)
		default:
			ask = append(ask, info.Path)
		}
	}
	ours := len(ask)
	ask = append(ask, foreign(infos, known)...)
	missing, err := c.Missing(ctx, ask)
	if err != nil {
		return plan, err
	}
	isMissing := make(map[nix.StorePath]bool, len(missing))
	for _, p := range missing {
		isMissing[p] = true
	}
	for i, p := range ask {
		if !isMissing[p] && !known[p] {
			known[p] = true
			if i < ours {
				plan.There = append(plan.There, p)
			}
		}
	}
	plan.choose(infos, known)
	return plan, nil
}

// choose takes what is not known, unless something it refers to can never be there. It goes from the objects whose
// references are all known to those that refer to them; what it does not come to is blocked.
func (p *Plan) choose(infos []nix.PathInfo, known map[nix.StorePath]bool) {
	todo := make(map[nix.StorePath]nix.PathInfo)
	dependents := make(map[nix.StorePath][]nix.StorePath)
	waits := make(map[nix.StorePath]int) // for so many references
	var ready []nix.StorePath
	for _, info := range infos {
		if _, again := todo[info.Path]; again || known[info.Path] {
			continue
		}
		todo[info.Path] = info
		for _, r := range nix.SortedPaths(info.References) {
			if !known[r] && r != info.Path {
				waits[info.Path]++
				dependents[r] = append(dependents[r], info.Path)
			}
		}
		if waits[info.Path] == 0 {
			ready = append(ready, info.Path)
		}
	}
	for len(ready) > 0 {
		path := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		known[path] = true
		p.Push = append(p.Push, todo[path])
		p.Bytes += todo[path].NARSize
		for _, d := range dependents[path] {
			if waits[d]--; waits[d] == 0 {
				ready = append(ready, d)
			}
		}
	}
	slices.SortFunc(p.Push, func(a, b nix.PathInfo) int {
		return cmp.Or(cmp.Compare(b.NARSize, a.NARSize), cmp.Compare(a.Path, b.Path))
	})
	p.block(infos, known)
}

// block notes what is neither known nor going to be.
func (p *Plan) block(infos []nix.PathInfo, known map[nix.StorePath]bool) {
	noted := make(map[nix.StorePath]bool)
	for _, info := range infos {
		if known[info.Path] || noted[info.Path] {
			continue
		}
		noted[info.Path] = true
		for _, r := range nix.SortedPaths(info.References) {
			if !known[r] && r != info.Path {
				p.Blocked = append(p.Blocked, Blocked{Path: info.Path, Reference: r})
				break
			}
		}
	}
}

// foreign returns the references that are not among the objects themselves, each once.
func foreign(infos []nix.PathInfo, known map[nix.StorePath]bool) []nix.StorePath {
	seen := make(map[nix.StorePath]bool, len(infos))
	for _, info := range infos {
		seen[info.Path] = true
	}
	var refs []nix.StorePath
	for _, info := range infos {
		if known[info.Path] {
			continue
		}
		for _, r := range info.References {
			if !seen[r] {
				seen[r] = true
				refs = append(refs, r)
			}
		}
	}
	return refs
}

func isSignedUpstream(info nix.PathInfo, upstream []string) bool {
	for _, signature := range info.Signatures {
		name, _, _ := strings.Cut(signature, ":")
		if slices.Contains(upstream, name) {
			return true
		}
	}
	return false
}

func (b Blocked) Error() string {
	return fmt.Sprintf("push %s: its reference %s is neither in the cache nor among what is pushed", b.Path, b.Reference)
}
