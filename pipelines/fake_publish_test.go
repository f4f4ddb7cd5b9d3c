package pipelines

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// fakeCachix is a cache that holds names alone, on both of its sides.
type fakeCachix struct {
	checkErr error
	pushErr  error // after half of the paths
	pinErr   error
	abortErr error
	silent   bool                    // Check and Pin end with their context
	mute     bool                    // the same of its public side
	spoilt   map[nix.StorePath]error // what a consumer finds
	blind    int                     // how often a consumer does not see what is there

	mu     sync.Mutex
	paths  []nix.StorePath
	pins   map[string]nix.StorePath
	pushes int

	aborted []string
}

type unavailableError struct{ error }

func (unavailableError) Unavailable() bool { return true }

func (c *fakeCachix) Name() string { return "fake" }

func (c *fakeCachix) Check(ctx context.Context) error {
	if c.silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return c.checkErr
}

func (c *fakeCachix) Push(_ context.Context, infos []nix.PathInfo, agree func([]nix.StorePath) error, progress func(run.PushProgress)) (done run.Pushed, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := agree(c.paths); err != nil {
		return run.Pushed{Left: pathsOf(infos)}, err
	}
	c.pushes++
	for i, info := range infos {
		switch {
		case slices.Contains(c.paths, info.Path):
			done.There++
		case c.pushErr != nil && i >= len(infos)/2:
			done.Left = append(done.Left, info.Path)
		default:
			c.paths = append(c.paths, info.Path)
			done.Added = append(done.Added, nix.Added{Path: info.Path, NARSize: info.NARSize, FileSize: info.NARSize / 2})
		}
	}
	progress(run.PushProgress{Paths: len(done.Added), OfPaths: len(infos)})
	return done, c.pushErr
}

func (c *fakeCachix) Preview(_ context.Context, infos []nix.PathInfo) (p run.PushPlan, err error) {
	for _, info := range infos {
		if slices.Contains(c.paths, info.Path) {
			p.There++
		} else {
			p.Push, p.Bytes = append(p.Push, info.Path), p.Bytes+info.NARSize
		}
	}
	return p, c.checkErr
}

func (c *fakeCachix) AbortUploads(_ context.Context, ids []string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = append(c.aborted, ids...)
	return len(ids), c.abortErr
}

func (c *fakeCachix) Pin(ctx context.Context, name string, path nix.StorePath) error {
	if c.silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pins == nil {
		c.pins = map[string]nix.StorePath{}
	}
	c.pins[name] = path
	return c.pinErr
}

func (c *fakeCachix) Missing(_ context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(paths), func(p nix.StorePath) bool { return slices.Contains(c.paths, p) }), nil
}

func (c *fakeCachix) Sees(ctx context.Context, info nix.PathInfo, _ func(int64) bool) error {
	if c.mute {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blind > 0 {
		c.blind--
		return errors.New("not seen yet")
	}
	if !slices.Contains(c.paths, info.Path) {
		return errors.New("not there")
	}
	return c.spoilt[info.Path]
}
