package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Set is several outputs with a hash each: a manifest or a binary cache.
type Set struct {
	// Name is as it was given.
	Name string

	manifest *manifest // nil of a cache
	outputs  []setOutput
}

// setOutput is an output of a set.
type setOutput struct {
	name, system string
	path         nix.StorePath
	hash         nix.Hash // zero where it is not known
	tree         *Tree    // the contents, of a cache
}

// key is what an output of one set is known by in the other.
func (o *setOutput) key(byPath bool) string {
	if byPath {
		return string(o.path)
	}
	return o.system + "\x00" + o.name
}

func (o *setOutput) sri() string {
	if o.hash.IsZero() {
		return ""
	}
	return o.hash.SRI()
}

// Sets compares the outputs of two sets: by package, system and output where both are manifests, else by store path.
// Outputs whose hashes are the same are not read. An error is for a person to read.
func Sets(ctx context.Context, a, b Set, o Options) (*Report, error) {
	r := &Report{A: a.Name, B: b.Name, Same: true}
	byPath := a.manifest == nil || b.manifest == nil
	if !byPath {
		r.Source = compareSources(a.manifest, b.manifest)
	}
	pairs, err := matchOutputs(a, b, byPath)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		out, err := p.compare(ctx, o)
		if err != nil {
			return nil, err
		}
		r.Same = r.Same && out.Verdict == Same
		r.Outputs = append(r.Outputs, out)
	}
	return r, nil
}

// outputPair is an output that one of the sets, or both, have.
type outputPair struct{ a, b *setOutput }

// matchOutputs returns the outputs of both sets in the order of A, and behind them those that B alone has.
func matchOutputs(a, b Set, byPath bool) ([]outputPair, error) {
	others := map[string]*setOutput{}
	for i := range b.outputs {
		o := &b.outputs[i]
		if others[o.key(byPath)] != nil {
			return nil, fmt.Errorf("compare %s: it has output %s of %s twice", shown(b.Name), shown(o.name), cmp.Or(o.system, string(o.path)))
		}
		others[o.key(byPath)] = o
	}
	var pairs []outputPair
	seen := map[string]bool{}
	for i := range a.outputs {
		o := &a.outputs[i]
		key := o.key(byPath)
		if seen[key] {
			return nil, fmt.Errorf("compare %s: it has output %s of %s twice", shown(a.Name), shown(o.name), cmp.Or(o.system, string(o.path)))
		}
		seen[key] = true
		pairs = append(pairs, outputPair{o, others[key]})
	}
	for i := range b.outputs {
		if o := &b.outputs[i]; !seen[o.key(byPath)] {
			pairs = append(pairs, outputPair{nil, o})
		}
	}
	return slices.Clip(pairs), nil
}

// compare compares contents only where hashes do not tell already.
func (p outputPair) compare(ctx context.Context, o Options) (Output, error) {
	out := p.describe()
	switch {
	case p.b == nil:
		out.Verdict = OnlyA
		return out, nil
	case p.a == nil:
		out.Verdict = OnlyB
		return out, nil
	case !p.a.hash.IsZero() && p.a.hash.Equal(p.b.hash):
		out.Verdict = Same
		return out, nil
	case p.a.hash.IsZero() || p.b.hash.IsZero():
		out.Verdict = Unknown
		out.Note = "no hash in " + p.sides(func(o *setOutput) bool { return o.hash.IsZero() }) +
			": it was not built, or served and never fetched"
		return out, nil
	}
	a, errA := p.a.contents(ctx)
	b, errB := p.b.contents(ctx)
	if err := errors.Join(errA, errB); err != nil {
		return out, fmt.Errorf("compare output %s: %w", shown(out.Name), err)
	}
	if a == nil || b == nil {
		out.Verdict = Different
		out.Note = "hashes alone were compared: what " + p.sides(func(o *setOutput) bool { return o.tree == nil }) +
			" had is neither in a cache beside the manifest nor in the store"
		return out, nil
	}
	if err := out.compare(ctx, *a, *b, o); err != nil {
		return out, fmt.Errorf("compare output %s: %w", shown(out.Name), err)
	}
	return out, nil
}

// sides names those that something is true of.
func (p outputPair) sides(is func(*setOutput) bool) string {
	switch {
	case is(p.a) && is(p.b):
		return "A and B"
	case is(p.a):
		return "A"
	}
	return "B"
}

func (p outputPair) describe() Output {
	var out Output
	for _, o := range []*setOutput{p.b, p.a} {
		if o != nil {
			out.Name, out.System = o.name, o.system
		}
	}
	if p.a != nil {
		out.PathA, out.NARHashA = p.a.path, p.a.sri()
	}
	if p.b != nil {
		out.PathB, out.NARHashB = p.b.path, p.b.sri()
	}
	return out
}
