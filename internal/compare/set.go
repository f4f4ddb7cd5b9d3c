package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// setOutput is an output of a manifest or a cache.
type setOutput struct {
	name, system string
	path         nix.StorePath
	hash         nix.Hash // zero if it is not known
	tree         *Tree    // the contents, if there are any
}

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

// inCache takes the contents from a cache. A missing NAR is an error, even if the hashes are the same.
func (o *setOutput) inCache(cache *binarycache.Dir, info *nix.NARInfo) error {
	f, err := cache.OpenNAR(info)
	if err != nil {
		return hint.Wrap(err, "the file is missing in the cache: remove %s, and fill the cache again",
			filepath.Join(cache.Name(), o.path.Digest()+".narinfo"))
	}
	tree := InCache(cache, o.path)
	o.tree = &tree
	return f.Close()
}

// contents returns the tree of an output, or nil if there is none. It uses the store only if the contents there have the
// hash of the output: the store can have another build under the same path.
func (o *setOutput) contents(ctx context.Context) (*Tree, error) {
	if o.tree != nil || o.hash.IsZero() {
		return o.tree, nil
	}
	if _, err := os.Lstat(string(o.path)); err != nil {
		return nil, nil
	}
	hash, _, err := nar.HashTree(ctx, string(o.path))
	if err == nil && hash.Equal(o.hash) {
		tree := OnDisk(string(o.path))
		o.tree = &tree
	}
	return o.tree, err
}

// compareSets compares the outputs of two manifests by package, system and output, and otherwise by store path.
// It does not read outputs that have the same hash.
func compareSets(ctx context.Context, a, b Subject, o Options) (*Report, error) {
	r := &Report{A: a.name, B: b.name, Same: true}
	byPath := a.manifest == nil || b.manifest == nil
	if !byPath {
		r.Source = append(sources(a.manifest, b.manifest), Conditions(a.manifest, b.manifest)...)
		o.Run = WindowOf(a.manifest.Started, a.manifest.Finished)
		if later := WindowOf(b.manifest.Started, b.manifest.Finished); later.To.After(o.Run.To) {
			o.Run = later
		}
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

// outputPair is an output of both sets, or of one; the other side is nil then.
type outputPair struct{ a, b *setOutput }

// matchOutputs returns the outputs of A in their order, then those that only B has.
func matchOutputs(a, b Subject, byPath bool) ([]outputPair, error) {
	indexA, err := a.index(byPath)
	if err != nil {
		return nil, err
	}
	indexB, err := b.index(byPath)
	if err != nil {
		return nil, err
	}
	var pairs []outputPair
	for i := range a.outputs {
		o := &a.outputs[i]
		pairs = append(pairs, outputPair{o, indexB[o.key(byPath)]})
	}
	for i := range b.outputs {
		if o := &b.outputs[i]; indexA[o.key(byPath)] == nil {
			pairs = append(pairs, outputPair{nil, o})
		}
	}
	return pairs, nil
}

func (s Subject) index(byPath bool) (map[string]*setOutput, error) {
	all := map[string]*setOutput{}
	for i := range s.outputs {
		o := &s.outputs[i]
		if all[o.key(byPath)] != nil {
			return nil, fmt.Errorf("compare %s: output %s of %s occurs twice", printable.Escaped(s.name), printable.Escaped(o.name), cmp.Or(o.system, string(o.path)))
		}
		all[o.key(byPath)] = o
	}
	return all, nil
}

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
			": it was not built, or it was in a cache and was not fetched"
		return out, nil
	}
	a, errA := p.a.contents(ctx)
	b, errB := p.b.contents(ctx)
	if err := errors.Join(errA, errB); err != nil {
		return out, fmt.Errorf("compare output %s: %w", printable.Escaped(out.Name), err)
	}
	if a == nil || b == nil {
		out.Verdict = Different
		out.Note = "only hashes were compared: the contents of " + p.sides(func(o *setOutput) bool { return o.tree == nil }) +
			" are not in a cache beside the manifest, and not in the store"
		return out, nil
	}
	o.SameDerivation = o.SameDerivation || p.a.path == p.b.path
	if err := out.compare(ctx, *a, *b, o); err != nil {
		return out, fmt.Errorf("compare output %s: %w", printable.Escaped(out.Name), err)
	}
	return out, nil
}

func (p outputPair) sides(is func(*setOutput) bool) string {
	switch {
	case is(p.a) && is(p.b):
		return "A and B"
	case is(p.a):
		return "A"
	}
	return "B"
}

func (p outputPair) describe() (out Output) {
	if p.b != nil {
		out.Name, out.System, out.PathB, out.NARHashB = p.b.name, p.b.system, p.b.path, p.b.sri()
	}
	if p.a != nil {
		out.Name, out.System, out.PathA, out.NARHashA = p.a.name, p.a.system, p.a.path, p.a.sri()
	}
	return out
}
