package main

import (
	"context"
	"io"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// holder returns the public side of the cache, with what it holds.
func (p *publisher) holder() pipelines.Holder { return (*publicSide)(p) }

// NARHashes asks the cache's API what there is, and the public side for that alone: what it has said once is not there
// it may go on to say for a while, to consumers of what is about to be pushed.
func (s *publicSide) NARHashes(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]string, error) {
	missing, err := s.client.Missing(ctx, paths)
	if err != nil {
		return nil, err
	}
	c, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	isMissing := make(map[nix.StorePath]bool, len(missing))
	for _, p := range missing {
		isMissing[p] = true
	}
	return c.NARHashes(ctx, slices.DeleteFunc(slices.Clone(paths), func(p nix.StorePath) bool { return isMissing[p] }))
}

func (s *publicSide) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	return c.Dump(ctx, w, path)
}
