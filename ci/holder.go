package main

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// holder returns the public side of the cache, with what it holds.
func (p *publisher) holder() run.NARHasher { return (*publicSide)(p) }

// Infos wants paths that the cache's API says are there: of others the public side would go on to say that they are
// not, to consumers of what is about to be pushed.
func (s *publicSide) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	c, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return c.Infos(ctx, paths)
}

func (s *publicSide) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	return c.Dump(ctx, w, path)
}
