package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Upstream is a cache without the objects that no trusted key has signed. [binarycache.Signed] implements it.
type Upstream interface {
	Name() string
	Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error)
}

const (
	// maxObjects limits the objects of a closure: ten times that of a desktop.
	maxObjects = 1 << 16
	// checksAtOnce is the number of NARs that are read at the same time.
	checksAtOnce = 4
)

// Closure has the verified objects of builds: their outputs, and everything that these refer to. It is a source of what
// is published. It is safe for concurrent use.
type Closure struct {
	Builds, Rebuilds []*Results
	Upstream         []Upstream
	MaxBytes         int64 // of all NARs together

	objects map[nix.StorePath]object
	bytes   int64
}

// object is a store object, either of a build or of an upstream cache.
type object struct {
	info nix.PathInfo
	from *Results // nil if an upstream cache has it
}

// Verify reads the closure of the outputs of a manifest. It compares each NAR of a build with its narinfo.
func (c *Closure) Verify(ctx context.Context, m *run.Manifest) error {
	c.objects = map[nix.StorePath]object{}
	var roots []nix.StorePath
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			roots = append(roots, p.OutputPaths()...)
		}
	}
	return nix.Walk(roots, func(level []nix.StorePath) (references []nix.StorePath, err error) {
		if len(c.objects)+len(level) > maxObjects {
			return nil, fmt.Errorf("verify builds: their closure has more than %d objects", maxObjects)
		}
		if err := c.verifyLevel(ctx, level); err != nil {
			return nil, err
		}
		for _, path := range level {
			references = append(references, c.objects[path].info.References...)
		}
		return references, nil
	})
}

func (c *Closure) verifyLevel(ctx context.Context, level []nix.StorePath) error {
	signed, err := c.upstream(ctx, level)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checksAtOnce)
	for _, path := range level {
		group.Go(func() error {
			o, err := c.verify(ctx, path, signed, func(size int64) error {
				mu.Lock()
				defer mu.Unlock()
				return c.room(size)
			})
			mu.Lock()
			defer mu.Unlock()
			c.objects[path] = o
			return err
		})
	}
	return group.Wait()
}

// room counts the bytes of a NAR that will be read.
func (c *Closure) room(size int64) error {
	if c.bytes += size; size < 0 || c.bytes < 0 || c.bytes > c.MaxBytes {
		return hint.Wrap(fmt.Errorf("verify builds: their NARs have more than %d bytes", c.MaxBytes), "if that is right: --max-size SIZE")
	}
	return nil
}

// upstream returns the objects that an upstream cache has with a trusted signature.
func (c *Closure) upstream(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	found := map[nix.StorePath]nix.PathInfo{}
	for _, cache := range c.Upstream {
		left := slices.DeleteFunc(slices.Clone(paths), func(p nix.StorePath) bool { _, ok := found[p]; return ok })
		infos, err := cache.Infos(ctx, left)
		if err != nil {
			return nil, err
		}
		for path, info := range infos {
			found[path] = info
		}
	}
	return found, nil
}

// verify returns an object of a build, or that of an upstream cache if no build has it with other contents. It calls room
// before it reads a NAR.
func (c *Closure) verify(ctx context.Context, path nix.StorePath, signed map[nix.StorePath]nix.PathInfo, room func(int64) error) (object, error) {
	info, isUpstream := signed[path]
	r, own, err := find(c.Builds, path)
	switch {
	case errors.Is(err, binarycache.ErrNotFound) && isUpstream, err == nil && isUpstream && own.NARHash.Equal(info.NARHash):
		return object{info: info}, nil
	case errors.Is(err, binarycache.ErrNotFound):
		return object{}, hint.Wrap(fmt.Errorf("verify builds: %s is neither in a build nor in a trusted cache", path),
			"a cache that consumers use has to have what the builds leave out")
	case err != nil:
		return object{}, err
	}
	if err := room(own.NARSize); err != nil {
		return object{}, err
	}
	if _, err := r.cache.Check(ctx, path); err != nil {
		return object{}, fmt.Errorf("verify %s: %w", r.Name, err)
	}
	// The signatures of the narinfo are anyone's, so they are left out.
	return object{nix.PathInfo{Path: path, NARHash: own.NARHash, NARSize: own.NARSize, References: own.References, Deriver: own.Deriver}, r}, nil
}

// find returns the narinfo of an object in the first of the results that have it.
func find(all []*Results, path nix.StorePath) (*Results, *nix.NARInfo, error) {
	for _, r := range all {
		info, err := r.narinfo(path)
		if !errors.Is(err, binarycache.ErrNotFound) {
			return r, info, err
		}
	}
	return nil, nil, binarycache.ErrNotFound
}

// narinfo returns the narinfo of an object. It must name a file in the directory of NARs.
func (r *Results) narinfo(p nix.StorePath) (*nix.NARInfo, error) {
	info, err := r.cache.Info(p)
	if err == nil && (path.Dir(info.URL) != narName || path.Clean(info.URL) != info.URL) {
		err = fmt.Errorf("read narinfo of %s in %s: its NAR is %.80q, which is not in %s/", p, r.Name, info.URL, narName)
	}
	return info, err
}

// own returns the paths of the objects of builds, sorted.
func (c *Closure) own() []nix.StorePath {
	var paths []nix.StorePath
	for path, o := range c.objects {
		if o.from != nil {
			paths = append(paths, path)
		}
	}
	return nix.SortedPaths(paths)
}

// IsOwn reports whether an object is that of a build, and not of an upstream cache.
func (c *Closure) IsOwn(path nix.StorePath) bool { return c.objects[path].from != nil }

// Missing returns the paths that are not in the closure.
func (c *Closure) Missing(_ context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	return slices.DeleteFunc(slices.Clone(paths), func(p nix.StorePath) bool { _, ok := c.objects[p]; return ok }), nil
}

// Closure returns the metadata of the paths and of all that they refer to, sorted by path.
func (c *Closure) Closure(_ context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	all := make([]nix.PathInfo, 0, len(c.objects))
	for _, path := range nix.SortedPaths(slices.Collect(keys(c.objects))) {
		all = append(all, c.objects[path].info)
	}
	return nix.Closure(all, roots...), nil
}

func keys(objects map[nix.StorePath]object) func(func(nix.StorePath) bool) {
	return func(yield func(nix.StorePath) bool) {
		for path := range objects {
			if !yield(path) {
				return
			}
		}
	}
}

// Dump writes the NAR of an object of a build. Readers must compare the hash: the file may have changed.
func (c *Closure) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	r, err := c.resultsWith(path)
	if err != nil {
		return err
	}
	return r.cache.Dump(ctx, w, path)
}

// Info returns the narinfo of an object of a build.
func (c *Closure) Info(path nix.StorePath) (*nix.NARInfo, error) {
	r, err := c.resultsWith(path)
	if err != nil {
		return nil, err
	}
	return r.narinfo(path)
}

// OpenNAR opens the file of a narinfo.
func (c *Closure) OpenNAR(info *nix.NARInfo) (*os.File, error) {
	r, err := c.resultsWith(info.StorePath)
	if err != nil {
		return nil, err
	}
	return r.cache.OpenNAR(info)
}

func (c *Closure) resultsWith(path nix.StorePath) (*Results, error) {
	if o, ok := c.objects[path]; ok && o.from != nil {
		return o.from, nil
	}
	return nil, fmt.Errorf("read %s: no build has it", path)
}

// Dump writes the NAR of an object.
func (r *Results) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	return r.cache.Dump(ctx, w, path)
}

// Count counts the objects of builds, and those of upstream caches.
func (c *Closure) Count() (own, upstream int) {
	own = len(c.own())
	return own, len(c.objects) - own
}
