package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Infos returns what the narinfo files say of those of the paths that have one here.
func (d *Dir) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := d.Info(path)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos[path] = pathInfo(info)
	}
	return infos, nil
}

// Infos requests the narinfo of each path, and returns those that exist. A temporary failure is retried once.
// The error names the path.
func (c *HTTP) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(httpRequests)
	var mu sync.Mutex
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		group.Go(func() error {
			info, err := twice(groupCtx, func() (*nix.NARInfo, error) { return c.narinfo(groupCtx, path) })
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("ask %s for %s: %w", c.Name(), path, err)
			}
			mu.Lock()
			defer mu.Unlock()
			infos[path] = pathInfo(info)
			return nil
		})
	}
	return infos, group.Wait()
}

// Dump writes the NAR of a store object to w, not compressed. An object that is not there is an [ErrNotFound].
// Contents that differ from the narinfo are a [nar.ErrMismatch], after all of them are written.
func (c *HTTP) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	if err := c.dump(ctx, w, path); err != nil {
		return fmt.Errorf("fetch %s from %s: %w", path, c.Name(), err)
	}
	return nil
}

func (c *HTTP) dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	c = c.patient()
	info, err := c.narinfo(ctx, path)
	if err != nil {
		return err
	}
	if u, err := url.Parse(info.URL); err != nil || u.IsAbs() || u.Host != "" {
		return fmt.Errorf("its narinfo names %.80q, which is not a file of the cache", info.URL)
	}
	response, err := c.get(ctx, http.MethodGet, info.URL)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("its narinfo is there, but its NAR %s is not", info.URL)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	digest := nar.NewDigest()
	if err := nar.Decompress(io.MultiWriter(w, digest), regular.Until(ctx, response.Body), info); err != nil {
		return err
	}
	return digest.Compare("NAR", info.NARHash, info.NARSize)
}
