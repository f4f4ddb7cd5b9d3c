package pipelines

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// fakeCachix is a cache that has only names, on both of its sides.
type fakeCachix struct {
	checkErr error
	pushErr  error // after half of the paths
	pinErr   error
	abortErr error
	silent   bool                    // Check and Pin wait for the end of their context
	mute     bool                    // so does the public side
	spoilt   map[nix.StorePath]error // what a consumer sees
	blind    int                     // how many queries of a consumer miss what is there

	holds fakeHolder // the contents of its public side

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

func (c *fakeCachix) Plan(_ context.Context, infos []nix.PathInfo) (plan cachix.Plan, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, info := range infos {
		if slices.Contains(c.paths, info.Path) {
			plan.There = append(plan.There, info.Path)
		} else {
			plan.Push, plan.Bytes = append(plan.Push, info), plan.Bytes+info.NARSize
		}
	}
	return plan, nil
}

func (c *fakeCachix) Push(_ context.Context, plan cachix.Plan, _ *publish.UploadLog, report func(run.PushProgress)) (done run.Pushed, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushes++
	done.There = len(plan.There)
	for i, info := range plan.Push {
		if c.pushErr != nil && i >= len(plan.Push)/2 {
			done.Left = append(done.Left, info.Path)
			continue
		}
		c.paths = append(c.paths, info.Path)
		done.Added = append(done.Added, nix.Added{Path: info.Path, NARSize: info.NARSize, FileSize: info.NARSize / 2})
	}
	report(run.PushProgress{Paths: len(done.Added), OfPaths: len(plan.Push)})
	return done, c.pushErr
}

func (c *fakeCachix) Consumer(context.Context) (publish.Consumer, error) { return c, nil }

func (c *fakeCachix) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	return c.holds.Infos(ctx, paths)
}

func (c *fakeCachix) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	return c.holds.Dump(ctx, w, path)
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
