package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ErrNotFound is the error for a store object that a binary cache does not have.
var ErrNotFound = errors.New("not in the binary cache")

const (
	// maxNARInfo is the maximum size of a narinfo: the most references that a NAR can have fit.
	maxNARInfo = 8 << 20
	// maxRequests is the number of narinfos that one query reads at the same time.
	maxRequests = 16
	// maxClosure is the maximum number of store objects in a closure: ten times that of a desktop.
	maxClosure = 1 << 16
)

// Cache is a binary cache that can be read. It is safe for concurrent use.
type Cache interface {
	// Name returns the URL or the directory of the cache.
	Name() string
	// Missing returns the paths that the cache does not have, in the given order.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
	// Infos returns the metadata of the paths that the cache has.
	Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error)
	// Dump writes the NAR of a store object, not compressed.
	Dump(ctx context.Context, w io.Writer, path nix.StorePath) error

	narinfo(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error)
}

// OpenURL opens the cache at the URL of a substituter for reading: http, https or file. It ignores the parameters of Nix,
// such as ?priority=40. It sends no request and creates nothing, but a directory must exist.
func OpenURL(text string) (Cache, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("open binary cache: %w", err) // it names the URL
	}
	if u.User != nil {
		return nil, fmt.Errorf("open binary cache %s: credentials in the URL are not used", u.Redacted())
	}
	u.RawQuery, u.Fragment = "", ""
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return NewHTTP(u), nil
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		return OpenReadOnly(u.Path)
	default:
		return nil, fmt.Errorf("open binary cache %s: neither http://…, https://… nor file:///…", text)
	}
}

// reader implements [Cache] by two functions.
type reader struct {
	name string
	// info returns the metadata of a store object, or an [ErrNotFound].
	info func(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error)
	// open opens the file of a NAR.
	open func(ctx context.Context, info *nix.NARInfo) (io.ReadCloser, error)
	// verifies makes Dump compare the NAR with the narinfo.
	verifies bool
}

// Name returns the URL or the directory of the cache.
func (r *reader) Name() string { return r.name }

func (r *reader) narinfo(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := r.info(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read narinfo of %s in %s: %w", path, r.name, err)
	}
	return info, nil
}

// Infos reads the narinfo of each path, and returns the metadata of those that the cache has.
func (r *reader) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxRequests)
	var mu sync.Mutex
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return context.Cause(groupCtx)
			}
			info, err := r.narinfo(groupCtx, path)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			infos[path] = pathInfo(info)
			return nil
		})
	}
	return infos, group.Wait()
}

// Missing returns the paths that the cache does not have, in the given order.
func (r *reader) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	infos, err := r.Infos(ctx, paths)
	return missing(infos, paths), err
}

func missing(infos map[nix.StorePath]nix.PathInfo, paths []nix.StorePath) []nix.StorePath {
	return slices.DeleteFunc(slices.Clone(paths), func(path nix.StorePath) bool { _, ok := infos[path]; return ok })
}

// Closure returns the metadata of the paths and of all their references, sorted by path. A path that the cache does not have
// is an [ErrNotFound].
func (r *reader) Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	var closure []nix.PathInfo
	err := nix.Walk(roots, func(level []nix.StorePath) (references []nix.StorePath, err error) {
		infos, err := r.Infos(ctx, level)
		for _, path := range level {
			info, ok := infos[path]
			if err == nil && !ok {
				err = fmt.Errorf("%s: %w", path, ErrNotFound)
			}
			closure = append(closure, info)
			references = append(references, info.References...)
		}
		if err == nil && len(closure) > maxClosure {
			err = fmt.Errorf("more than %d paths", maxClosure)
		}
		return references, err
	})
	if err != nil {
		return nil, fmt.Errorf("read closure in %s: %w", r.name, err)
	}
	return sorted(closure), nil
}

// Dump writes the NAR of a store object, not compressed. See the type of the cache for what it compares.
func (r *reader) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	info, err := r.narinfo(ctx, path)
	if err != nil {
		return err
	}
	digest := nar.NewDigest()
	if r.verifies {
		w = io.MultiWriter(w, digest)
	}
	f, err := r.open(ctx, info)
	if err == nil {
		defer f.Close()
		err = nar.Decompress(w, regular.Until(ctx, f), info)
	}
	if err == nil && r.verifies {
		err = digest.Compare("NAR", info.NARHash, info.NARSize)
	}
	if err != nil {
		return fmt.Errorf("read nar of %s in %s: %w", path, r.name, err)
	}
	return nil
}

// parseInfo parses the narinfo of a path.
func parseInfo(text []byte, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := nix.ParseNARInfo(text)
	if err == nil && info.StorePath != path {
		err = fmt.Errorf("the narinfo is that of %s", info.StorePath)
	}
	return info, err
}

func sorted(infos []nix.PathInfo) []nix.PathInfo {
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return infos
}

func pathInfo(info *nix.NARInfo) nix.PathInfo {
	p := nix.PathInfo{
		Path: info.StorePath, NARHash: info.NARHash, NARSize: info.NARSize,
		References: info.References, Deriver: info.Deriver,
	}
	for _, s := range info.Sig {
		p.Signatures = append(p.Signatures, s.String())
	}
	return p
}
