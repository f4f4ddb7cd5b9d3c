package reproduce

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// contents compares the outputs of one derivation, by their hashes and, where these differ, by their bytes.
func (c *comparison) contents(ctx context.Context, p Package, a, b pipelines.PackageResult) (Package, error) {
	var notes []string
	p.Verdict = Pass
	for i := range p.Outputs {
		o := &p.Outputs[i]
		if o.PathA != o.PathB {
			// One derivation has one path for each of its outputs: one of the two manifests was edited.
			return p.verdict(Unknown, fmt.Sprintf("output %s is at %s there and at %s here, of one derivation", o.Name, o.PathA, o.PathB)), nil
		}
		if o.NARHashA == "" {
			held, name, err := hashIn(ctx, c.theirs.Caches, o.PathA)
			if err != nil {
				return p, err
			}
			if held == "" {
				return p.verdict(Unknown, "the manifest has no hash of it: a cache served it, and none that can be asked has it still"), nil
			}
			o.NARHashA = held
			notes = append(notes, "the hash is that of "+name+", which served it")
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
		// What was here before was built anew, and came out differently: whatever the hashes of the two runs are.
		p.Verdict = OtherContents
		notes = append(notes, b.Difference.String())
	case p.Verdict == Pass && b.Verdict != pipelines.Built && b.Reproducible() != pipelines.Good:
		p.Verdict = Unknown
		notes = append(notes, "it was "+string(b.Verdict)+" and not built here")
	}
	p.Reason = strings.Join(notes, "; ")
	return p, nil
}

// whichFiles compares the bytes of an output. Where one side's are nowhere to be had, it says so instead.
func (c *comparison) whichFiles(ctx context.Context, o Output) (*compare.Report, string, error) {
	a, lost, err := treeIn(ctx, c.theirs.Caches, o.PathA, o.NARHashA)
	if err != nil {
		return nil, "", err
	}
	if a == nil {
		return nil, fmt.Sprintf("its contents there (%s) are in no cache that can be asked", o.NARHashA) + lost, nil
	}
	b, lost, err := treeIn(ctx, c.ours.Caches, o.PathB, o.NARHashB)
	if err != nil {
		return nil, "", err
	}
	if b == nil {
		return nil, fmt.Sprintf("its contents here (%s) are not in the cache of this run", o.NARHashB) + lost, nil
	}
	a.Name, b.Name = "manifest", "here"
	report, err := compare.Trees(ctx, *a, *b, c.options)
	return report, "", err
}

// hashIn returns the NAR hash of the first cache that has a path, and its name.
func hashIn(ctx context.Context, caches []pipelines.Holder, path nix.StorePath) (hash, name string, err error) {
	for _, cache := range caches {
		infos, err := cache.Infos(ctx, []nix.StorePath{path})
		if ctx.Err() != nil {
			return "", "", err
		}
		if info, ok := infos[path]; err == nil && ok { // a cache that does not answer has nothing to say
			return info.NARHash.SRI(), cache.Name(), nil
		}
	}
	return "", "", nil
}

// treeIn returns the contents of a path with a certain hash: another cache may have others under the same path.
// Where there is none, lost says which caches should have it.
func treeIn(ctx context.Context, caches []pipelines.Holder, path nix.StorePath, hash string) (tree *compare.Tree, lost string, err error) {
	for _, cache := range caches {
		infos, err := cache.Infos(ctx, []nix.StorePath{path})
		if ctx.Err() != nil {
			return nil, "", err
		}
		if info, ok := infos[path]; err != nil || !ok || info.NARHash.SRI() != hash {
			continue
		}
		dir, ok := cache.(*binarycache.Dir)
		if !ok {
			found := fetched(cache, path)
			return &found, "", nil
		}
		if hasNAR(dir, path) {
			found := compare.InCache(dir, path)
			return &found, "", nil
		}
		lost += "; " + cache.Name() + " has its narinfo, and has lost its NAR"
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

// fetched is the contents of a path as another kind of cache gives them.
func fetched(cache pipelines.Holder, path nix.StorePath) compare.Tree {
	return compare.Dumped(string(path), func(ctx context.Context, w io.Writer) error { return cache.Dump(ctx, w, path) })
}
