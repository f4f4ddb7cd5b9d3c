package handover

import (
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// CheckClaims compares what each manifest says of its outputs with the objects, and then sets hash and size of the outputs
// of the joined manifest to those of the objects. Objects that differ between builds are compared with their own narinfo.
func (c *Closure) CheckClaims(joined *run.Manifest) error {
	for _, side := range [][]*Results{c.Builds, c.Rebuilds} {
		for _, r := range side {
			if err := c.checkClaims(side, r); err != nil {
				return fmt.Errorf("check manifest of %s: %w", r.Name, err)
			}
		}
	}
	for _, cell := range joined.Cells {
		for _, p := range cell.Packages {
			for i, o := range p.Outputs {
				info := c.objects[o.Path].info
				p.Outputs[i].NARHash, p.Outputs[i].NARSize = info.NARHash.SRI(), info.NARSize
			}
		}
	}
	return nil
}

func (c *Closure) checkClaims(side []*Results, r *Results) error {
	for _, cell := range r.Manifest.Cells {
		for _, p := range cell.Packages {
			for _, o := range p.Outputs {
				hash, size, err := c.contents(side, o.Path)
				if err != nil {
					return err
				}
				if o.NARHash != "" && (o.NARHash != hash.SRI() || o.NARSize != 0 && o.NARSize != size) {
					return fmt.Errorf("output %s of %s has the NAR hash %s and %d bytes, not %s and %d",
						o.Name, p.Package, hash.SRI(), size, o.NARHash, o.NARSize)
				}
				if !c.IsOwn(o.Path) || len(c.Rebuilds) == 0 {
					continue
				}
				// What was there before can be a copy of the other build: two builds may share a store.
				switch isRebuild := slices.Contains(c.Rebuilds, r); {
				case p.Verdict == run.Substituted:
					return fmt.Errorf("%s was fetched from a cache, so that it proves nothing about a second build", p.Package)
				case isRebuild && p.Verdict != run.Built:
					return hint.Wrap(fmt.Errorf("%s was not built by the rebuild (%s), so that it proves nothing", p.Package, p.Verdict),
						"make the rebuild in a store that does not have the output, with an empty --out")
				}
			}
		}
	}
	return nil
}

// contents returns hash and size of an object on one side; those of an upstream cache if no build on that side has it.
func (c *Closure) contents(side []*Results, path nix.StorePath) (nix.Hash, int64, error) {
	if c.IsOwn(path) {
		if _, info, err := find(side, path); err == nil {
			return info.NARHash, info.NARSize, nil
		}
	}
	o, ok := c.objects[path]
	if !ok {
		return nix.Hash{}, 0, fmt.Errorf("%s is in no build", path)
	}
	return o.info.NARHash, o.info.NARSize, nil
}
