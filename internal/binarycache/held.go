package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	gonix "zombiezen.com/go/nix"

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

// Infos asks for the narinfo of each path, and returns what those say that are there. A question that failed is asked once
// more. The error names the path.
func (c *HTTP) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(httpRequests)
	var mu sync.Mutex
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		group.Go(func() error {
			info, err := c.infoTwice(groupCtx, path)
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

func (c *HTTP) infoTwice(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := (&Consumer{HTTP: c}).narinfo(ctx, path)
	if err == nil || errors.Is(err, ErrNotFound) {
		return info, err
	}
	pause := time.NewTimer(httpRetry)
	defer pause.Stop()
	select {
	case <-pause.C:
		return (&Consumer{HTTP: c}).narinfo(ctx, path)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Dump writes the NAR of a store object to w, not compressed. An object that is not there is an [ErrNotFound];
// contents that are not those that the narinfo promises are an error too, once all of them are written.
func (c *HTTP) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	if err := c.dump(ctx, w, path); err != nil {
		return fmt.Errorf("fetch %s from %s: %w", path, c.Name(), err)
	}
	return nil
}

func (c *HTTP) dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	// Its client's limit of time is for answers without a body; a NAR takes what it takes.
	patient := &Consumer{HTTP: &HTTP{URL: c.URL, Client: &http.Client{Transport: c.Client.Transport}}}
	info, err := patient.narinfo(ctx, path)
	if err != nil {
		return err
	}
	response, err := patient.get(ctx, http.MethodGet, info.URL)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("its narinfo is there, but its NAR %s is not", info.URL)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	hasher := gonix.NewHasher(info.NARHash.Type())
	if err := nar.Decompress(io.MultiWriter(w, hasher), regular.Until(ctx, response.Body), info); err != nil {
		return err
	}
	if got := hasher.SumHash(); !got.Equal(info.NARHash) {
		return fmt.Errorf("its NAR has the hash %v, and its narinfo promises %v", got, info.NARHash)
	}
	return nil
}
