// Package drvdiff finds why two derivations differ: which input, option or attribute, how far down the tree.
//
// A derivation's path is a hash of its text, and its text holds the paths of its inputs. So one changed byte at the
// bottom of a tree changes the paths of all derivations above it, and no path says why. [Diff] walks both trees from their
// roots, into the inputs that differ, and returns the derivations whose own values differ.
//
// A derivation has the format of Nix's ATerm files,
// https://nix.dev/manual/nix/latest/protocols/derivation-aterm, and the digest of a path that of
// https://nix.dev/manual/nix/latest/protocols/store-path. The idea of the walk is that of nix-diff
// (https://github.com/Gabriella439/nix-diff).
package drvdiff

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Diff returns why the two roots differ. Each difference is of a derivation's own values, not only of the paths of its
// inputs.
//
// The first difference is the most likely cause. The order is: differences that change outputs before those that do not;
// derivations before those that are built with them; near the root before far from it. A [Missing] derivation is last.
//
// Diff wraps the errors of the readers and of the context. A derivation that Nix cannot have written is an error too.
func Diff(ctx context.Context, a, b Side) ([]Difference, error) {
	if a.Root == b.Root {
		return nil, nil
	}
	w := &walk{a: newTree(a), b: newTree(b), nodes: map[pair]*node{}}
	w.reach(pair{a.Root, b.Root}, nil)
	for i := 0; i < len(w.queue); i++ { // the queue grows
		if err := w.visit(ctx, w.queue[i]); err != nil {
			return nil, fmt.Errorf("compare derivations: %w", err)
		}
	}
	return w.differences(), nil
}

// maxPairs bounds the walk. Real trees have about as many pairs as derivations.
const maxPairs = 2 * maxDerivations

// walk is breadth first: it reaches each pair once, by the shortest path.
type walk struct {
	a, b  *tree
	nodes map[pair]*node
	queue []*node
}

// node is a pair of derivations that differ.
type node struct {
	pair
	from   *node // the node nearest to the root that has it as an input; nil for the root
	inputs []*node
	own    []Difference
	depth  int // as causes returns it; -1 before it is known
}

func (w *walk) reach(p pair, from *node) *node {
	n, ok := w.nodes[p]
	if !ok {
		n = &node{pair: p, from: from, depth: -1}
		w.nodes[p] = n
		w.queue = append(w.queue, n)
	}
	return n
}

func (w *walk) visit(ctx context.Context, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(w.queue) > maxPairs {
		return fmt.Errorf("more than %d pairs differ", maxPairs)
	}
	a, err := w.a.load(ctx, n.a)
	if err != nil {
		return err
	}
	b, err := w.b.load(ctx, n.b)
	if err != nil {
		return err
	}
	if a == nil || b == nil {
		n.own = []Difference{{Kind: Missing, A: presence(n.a, a), B: presence(n.b, b)}}
		return nil
	}
	c := newComparison(w.a, w.b, a, b)
	if err := c.compare(ctx); err != nil {
		return err
	}
	n.own = c.own
	for _, p := range c.inputs {
		n.inputs = append(n.inputs, w.reach(p, n))
	}
	return nil
}

func presence(path nix.StorePath, d *derivation) string {
	if d == nil {
		return notHere
	}
	return string(path)
}

// differences returns the differences of all nodes in the order of [Diff].
func (w *walk) differences() (all []Difference) {
	causes := slices.DeleteFunc(w.queue, func(n *node) bool { return len(n.own) == 0 })
	last := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(causes, func(x, y *node) int {
		return cmp.Or(
			last(x.own[0].Kind == Missing)-last(y.own[0].Kind == Missing),
			last(x.own[0].SameOutputs)-last(y.own[0].SameOutputs),
			x.causes()-y.causes(),
		)
	})
	listed := map[[3]string]int{}
	for _, n := range causes {
		path := n.path()
		for _, d := range n.own {
			switch d.Kind {
			case Source, SourceAdded, SourceRemoved, InputAdded, InputRemoved: // many derivations can use the same one
				key := [3]string{string(d.Kind), d.A, d.B}
				if first, ok := listed[key]; ok {
					all[first].Again++
					continue
				}
				listed[key] = len(all)
			}
			d.Path, d.DrvA, d.DrvB = path, n.a, n.b
			all = append(all, d)
		}
	}
	return all
}

// causes returns the largest number of derivations with own differences on one path down from here.
func (n *node) causes() int {
	if n.depth >= 0 {
		return n.depth
	}
	n.depth = 0 // there are no cycles, because paths are hashes
	for _, in := range n.inputs {
		depth := in.causes()
		if len(in.own) > 0 {
			depth++
		}
		n.depth = max(n.depth, depth)
	}
	return n.depth
}

func (n *node) path() []string {
	var path []string
	for ; n != nil; n = n.from {
		name, other := nix.DerivationName(n.a), nix.DerivationName(n.b)
		if other != name {
			name += " | " + other
		}
		path = append(path, name)
	}
	slices.Reverse(path)
	return path
}
