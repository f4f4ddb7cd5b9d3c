package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Difference is an object with other contents in another build. Both NARs are as their narinfos state.
type Difference struct {
	Path          nix.StorePath
	First, Second *Results
	Hashes        [2]nix.Hash
}

// Compare compares the objects of the builds with those of all rebuilds and of the other builds. An object without a
// rebuild is an error. Objects with the same contents and other references are an error, because a narinfo is wrong.
func (c *Closure) Compare(ctx context.Context) ([]Difference, error) {
	var differ []Difference
	for _, path := range c.own() {
		o := c.objects[path]
		if _, _, err := find(c.Rebuilds, path); len(c.Rebuilds) > 0 && err != nil {
			if errors.Is(err, binarycache.ErrNotFound) {
				err = fmt.Errorf("compare builds: %s has %s, and no rebuild has it", o.from.Name, path)
			}
			return nil, err
		}
		for _, r := range slices.Concat(c.Builds, c.Rebuilds) {
			if r == o.from {
				continue
			}
			different, err := c.compare(ctx, path, r)
			if err != nil {
				return nil, err
			}
			if different != nil {
				differ = append(differ, *different)
			}
		}
	}
	return differ, nil
}

func (c *Closure) compare(ctx context.Context, path nix.StorePath, other *Results) (*Difference, error) {
	o := c.objects[path]
	info, err := other.narinfo(path)
	switch {
	case errors.Is(err, binarycache.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.NARHash.Equal(o.info.NARHash):
		if err := c.room(info.NARSize); err != nil {
			return nil, err
		}
		if _, err := other.cache.Check(ctx, path); err != nil {
			return nil, fmt.Errorf("verify %s: %w", other.Name, err)
		}
		return &Difference{path, o.from, other, [2]nix.Hash{o.info.NARHash, info.NARHash}}, nil
	case info.NARSize != o.info.NARSize, !slices.Equal(nix.SortedPaths(info.References), nix.SortedPaths(o.info.References)):
		return nil, fmt.Errorf("compare builds: %s has the same contents in %s and %s, and another size or other references: one of the narinfos is wrong",
			path, o.from.Name, other.Name)
	}
	if info.Deriver != o.info.Deriver { // a fetch can belong to several derivations
		o.info.Deriver = ""
		c.objects[path] = o
	}
	return nil, nil
}
