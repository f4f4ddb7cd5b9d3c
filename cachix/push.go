package cachix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Source gives the contents of store objects: a store on disk, or a binary cache. See also [FileSource].
// It is safe for concurrent use.
type Source interface {
	// Dump writes the NAR of a store object to w.
	Dump(ctx context.Context, w io.Writer, path nix.StorePath) error
}

// PushOptions say how to push.
type PushOptions struct {
	// Compression of what is not compressed already; empty for zstd. See [binarycache.Press] for the levels.
	Compression nar.Compression
	Level       int
	// Report, where it is not nil, is told now and then how far the push is. It must not block.
	Report func(run.PushProgress)
	// Uploads learns of the uploads of the push; nil for nothing.
	Uploads UploadLog
}

// Push makes the objects of a plan visible, each only after all that it refers to.
// NARs go up in the plan's order, several at a time, compressed and sent while they are read.
//
// An object that fails does not keep others from going up, but those that refer to it. Where the server refuses the
// credential or does not answer any more, the push ends; the error is then an [*UnavailableError] or a [*StatusError],
// wrapped. When ctx is done, uploads that have begun are taken back. What was pushed is returned beside every error.
func (c *Client) Push(ctx context.Context, plan Plan, source Source, o PushOptions) (run.Pushed, error) {
	press, err := binarycache.NewPress(binarycache.PressOptions{Compression: o.Compression, Level: o.Level})
	if err != nil {
		return run.Pushed{Left: paths(plan.Push)}, fmt.Errorf("push to %s: %v", c.name, err)
	}
	defer press.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &push{
		client: c, source: source, press: press, uploads: o.Uploads, compression: cmp.Or(o.Compression, nar.Zstd), stop: stop,
		scheduler: newScheduler(plan.Push, 2*runtime.GOMAXPROCS(0)),
		meter:     meter{report: o.Report, now: run.PushProgress{OfPaths: len(plan.Push), OfBytes: plan.Bytes}},
	}
	if p.uploads == nil {
		p.uploads = noUploadLog{}
	}
	p.run(ctx)
	return p.result(ctx, plan)
}

func paths(infos []nix.PathInfo) []nix.StorePath {
	all := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		all[i] = info.Path
	}
	return all
}

// result says what came of the push, when it is over.
func (p *push) result(ctx context.Context, plan Plan) (run.Pushed, error) {
	visible := make(map[nix.StorePath]bool, len(p.added))
	for _, a := range p.added {
		visible[a.Path] = true
	}
	result := run.Pushed{Added: p.added, There: len(plan.There), Upstream: len(plan.Upstream)}
	for _, path := range paths(plan.Push) {
		if !visible[path] {
			result.Left = append(result.Left, path)
		}
	}
	errs := p.errs
	for _, b := range plan.Blocked {
		errs = append(errs, b)
		result.Left = append(result.Left, b.Path)
	}
	if ctx.Err() != nil {
		errs = append([]error{context.Cause(ctx)}, errs...)
	}
	return result, shorten(errs)
}

// shorten joins errors, and counts those that would be too many to read.
func shorten(errs []error) error {
	const most = 10
	if more := len(errs) - most; more > 1 {
		errs = append(errs[:most:most], fmt.Errorf("and %d more objects were not pushed", more))
	}
	return errors.Join(errs...)
}
