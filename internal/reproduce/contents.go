package reproduce

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// contents compares the outputs of one derivation: by hash, and by contents if the hashes differ.
func (c *comparison) contents(ctx context.Context, p Package, a, b run.PackageResult) (Package, error) {
	var notes []string
	p.Verdict = Pass
	for i := range p.Outputs {
		o := &p.Outputs[i]
		if o.PathA != o.PathB {
			// A derivation has one path for each output, so one of the manifests was edited.
			return p.verdict(Unknown, fmt.Sprintf("output %s is %s in the manifest and %s here, but the derivation is the same", o.Name, o.PathA, o.PathB)), nil
		}
		if o.NARHashA == "" {
			held, name, err := hashIn(ctx, c.original.Caches, o.PathA)
			if err != nil {
				return p, err
			}
			if held == "" {
				return p.verdict(Unknown, "the manifest has no hash of it, because it was in a cache; none of the caches has it now"), nil
			}
			o.NARHashA = held
			notes = append(notes, "the hash is from "+name)
		}
		if o.NARHashA == o.NARHashB {
			continue
		}
		p.Verdict = OtherContents
		report, note, err := c.whichFiles(ctx, *o)
		if err != nil {
			return p, err
		}
		if report != nil {
			p.Contents = append(p.Contents, report)
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	switch {
	case a.Difference != nil && (b.Difference != nil || p.Verdict == OtherContents):
		p.Verdict = SameFailure
		notes = append([]string{"not reproducible there; not the same here either"}, notes...)
	case a.Difference != nil:
		p.Verdict = OtherOutcome
		notes = append(notes, "a second build differed there, and is the same here")
	case b.Difference != nil:
		// A second build here differed, so the hashes of the two runs do not matter.
		p.Verdict = OtherContents
		notes = append(notes, b.Difference.String())
	case p.Verdict == Pass && b.Verdict != run.Built && b.Reproducible() != run.Good:
		p.Verdict = Unknown
		notes = append(notes, "it was "+string(b.Verdict)+", not built here")
	}
	p.Reason = strings.Join(notes, "; ")
	return p, nil
}

// whichFiles compares the contents of an output. If one side has none, it returns a note instead.
func (c *comparison) whichFiles(ctx context.Context, o Output) (*compare.Report, string, error) {
	a, lost, err := treeIn(ctx, c.original.Caches, o.PathA, o.NARHashA)
	if err != nil {
		return nil, "", err
	}
	if a == nil {
		return nil, fmt.Sprintf("the contents of the manifest's build (%s) are in none of the caches", o.NARHashA) + lost, nil
	}
	b, lost, err := treeIn(ctx, c.rebuilt.Caches, o.PathB, o.NARHashB)
	if err != nil {
		return nil, "", err
	}
	if b == nil {
		return nil, fmt.Sprintf("the contents of this build (%s) are not in its cache", o.NARHashB) + lost, nil
	}
	a.Name, b.Name = "manifest", "here"
	report, err := compare.Trees(ctx, *a, *b, compare.Options{
		SameDerivation: true, Run: compare.WindowOf(c.rebuilt.Manifest.Started, c.rebuilt.Manifest.Finished),
	})
	return report, "", err
}

// hashIn returns the NAR hash of a path in the first cache that has it, and the name of that cache.
func hashIn(ctx context.Context, caches []run.NARHasher, path nix.StorePath) (hash, name string, err error) {
	for _, cache := range caches {
		infos, err := cache.Infos(ctx, []nix.StorePath{path})
		if ctx.Err() != nil {
			return "", "", err
		}
		if info, ok := infos[path]; err == nil && ok { // a cache that fails is skipped
			return info.NARHash.SRI(), cache.Name(), nil
		}
	}
	return "", "", nil
}

// treeIn returns the contents of a path with a certain hash: a cache can have other contents under the same path.
// If there are none, lost names the caches that have the narinfo but not the NAR.
func treeIn(ctx context.Context, caches []run.NARHasher, path nix.StorePath, hash string) (tree *compare.Tree, lost string, err error) {
	for _, cache := range caches {
		infos, err := cache.Infos(ctx, []nix.StorePath{path})
		if ctx.Err() != nil {
			return nil, "", err
		}
		if info, ok := infos[path]; err != nil || !ok || info.NARHash.SRI() != hash {
			continue
		}
		if dir, ok := cache.(*binarycache.Dir); ok && !hasNAR(dir, path) {
			lost += "; " + cache.Name() + " has its narinfo but not its NAR"
			continue
		}
		found := compare.InCache(cache, path)
		return &found, "", nil
	}
	return nil, lost, nil
}

func hasNAR(dir *binarycache.Dir, path nix.StorePath) bool {
	info, err := dir.Info(path)
	if err != nil {
		return false
	}
	f, err := dir.OpenNAR(info)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}
