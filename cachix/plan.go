package cachix

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Plan lists what a push will do.
type Plan struct {
	// Push has the objects to push, largest first: if a large object came last, the push would end with it alone.
	Push []nix.PathInfo
	// There has the objects that are in the cache, or in one of its upstream caches.
	There []nix.StorePath
	// Upstream has the objects that are signed by another cache that users have.
	Upstream []nix.StorePath
	// Blocked has the objects that cannot be made visible: they refer to objects that do not exist, or in a circle.
	Blocked []Blocked
	// Bytes is the size of the NARs to push.
	Bytes int64
}

// Blocked is an object and its first missing reference.
type Blocked struct{ Path, Reference nix.StorePath }

// Plan determines which store objects have to be pushed.
// Upstream has names of keys, such as "cache.nixos.org-1": objects that they have signed are not pushed.
func (c *Client) Plan(ctx context.Context, infos []nix.PathInfo, upstream []string) (Plan, error) {
	var plan Plan
	known := make(map[nix.StorePath]bool, len(infos)) // is visible, or will be
	var ask []nix.StorePath
	for _, info := range infos {
		switch {
		case known[info.Path]: // a duplicate
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
	isMissing := nix.PathSet(missing)
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

// choose plans all objects that are not known, apart from those that cannot be made visible.
func (p *Plan) choose(infos []nix.PathInfo, known map[nix.StorePath]bool) {
	todo := make(map[nix.StorePath]nix.PathInfo, len(infos))
	for _, info := range infos {
		todo[info.Path] = info
	}
	blocked := make(map[nix.StorePath]bool) // or an object that visit has entered: in a circle, all are blocked
	var visit func(path nix.StorePath) bool
	visit = func(path nix.StorePath) bool {
		info, ours := todo[path]
		if known[path] || blocked[path] || !ours {
			return known[path]
		}
		blocked[path] = true
		for _, r := range nix.SortedPaths(info.References) {
			if r != path && !visit(r) {
				p.Blocked = append(p.Blocked, Blocked{Path: path, Reference: r})
				return false
			}
		}
		delete(blocked, path)
		known[path] = true
		p.Push = append(p.Push, info)
		p.Bytes += info.NARSize
		return true
	}
	for _, info := range infos {
		visit(info.Path)
	}
	slices.SortFunc(p.Push, func(a, b nix.PathInfo) int {
		return cmp.Or(cmp.Compare(b.NARSize, a.NARSize), cmp.Compare(a.Path, b.Path))
	})
}

// foreign returns the references that are not among the objects themselves, without duplicates.
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
	return fmt.Sprintf("push %s: its reference %s is neither in the cache nor part of the push", b.Path, b.Reference)
}
