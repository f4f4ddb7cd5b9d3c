package binarycache

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxWalk is how many store objects a closure may have that is asked for over the network: ten times that of a desktop.
const maxWalk = 1 << 16

// Closure returns what the caches say of the paths and of all that they refer to, in the order of paths. A path that
// none of them serves is an error that wraps [ErrNotFound].
//
// It does not check signatures: the result is used for sizes, not to fetch.
func (c *Consumer) Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	seen := map[nix.StorePath]bool{}
	var infos []nix.PathInfo
	for level := unseen(seen, roots); len(level) > 0; {
		if len(seen) > maxWalk {
			return nil, fmt.Errorf("read closure in %s: more than %d paths", c.Name(), maxWalk)
		}
		found := make([]*nix.NARInfo, len(level))
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(httpRequests)
		for i, path := range level {
			group.Go(func() (err error) {
				found[i], err = c.anywhere(groupCtx, path)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		level = nil
		for _, info := range found {
			infos = append(infos, pathInfo(info))
			level = append(level, unseen(seen, info.References)...)
		}
	}
	return sorted(infos), nil
}

// unseen returns those of the paths that come for the first time, and marks them.
func unseen(seen map[nix.StorePath]bool, paths []nix.StorePath) []nix.StorePath {
	var fresh []nix.StorePath
	for _, path := range paths {
		if !seen[path] {
			seen[path] = true
			fresh = append(fresh, path)
		}
	}
	return fresh
}

// anywhere returns the narinfo of a path from the first cache that has it.
func (c *Consumer) anywhere(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := c.narinfo(ctx, path)
	if errors.Is(err, ErrNotFound) {
		info, err = c.upstream(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s: %w", c.Name(), path, err)
	}
	return info, nil
}

// upstream returns the narinfo of a path from the first upstream cache that has it, or an [ErrNotFound].
func (c *Consumer) upstream(ctx context.Context, path nix.StorePath) (info *nix.NARInfo, err error) {
	err = ErrNotFound
	for _, upstream := range c.Upstream {
		if !errors.Is(err, ErrNotFound) {
			break
		}
		switch cache := upstream.(type) {
		case *HTTP:
			info, err = cache.narinfo(ctx, path)
		case *Dir:
			info, err = cache.Info(path)
		}
	}
	return info, err
}
