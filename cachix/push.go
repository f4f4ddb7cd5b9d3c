package cachix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Source provides the contents of store objects: a store on disk, or a binary cache. See also [FileSource].
// It is safe for concurrent use.
type Source interface {
	// Dump writes the NAR of a store object to w.
	Dump(ctx context.Context, w io.Writer, path nix.StorePath) error
}

// PushOptions are settings of a push.
type PushOptions struct {
	// Compression of NARs that are not compressed yet; the default is zstd. See [nar.Compressor] for the levels.
	Compression nar.Compression
	Level       int
	// Report is called with the progress of the push, at intervals. It must not block. It may be nil.
	Report func(run.PushProgress)
	// Uploads records the uploads of the push; it may be nil.
	Uploads UploadLog
}

// Push makes the objects of a plan visible, each only after all that it refers to.
// NARs are read in the plan's order, several at a time, and compressed and sent at the same time.
//
// If an object fails, the objects that refer to it fail too, and the push goes on with all others. If the server refuses
// the credential or stops to answer, the push ends; the error then wraps an [*UnavailableError] or a [*StatusError].
// When ctx is done, open uploads are aborted. The result is valid even if there is an error.
func (c *Client) Push(ctx context.Context, plan Plan, source Source, o PushOptions) (run.Pushed, error) {
	compressor, err := nar.NewCompressor(o.Compression, o.Level)
	if err != nil {
		return run.Pushed{Left: nix.PathsOf(plan.Push)}, fmt.Errorf("push to %s: %v", c.name, err)
	}
	defer compressor.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &push{
		client: c, source: source, compressor: compressor, uploads: o.Uploads, compression: cmp.Or(o.Compression, nar.Zstd), stop: stop,
		scheduler: newScheduler(plan.Push, 2*runtime.GOMAXPROCS(0)),
		meter:     meter{report: o.Report, now: run.PushProgress{OfPaths: len(plan.Push), OfBytes: plan.Bytes}},
	}
	if p.uploads == nil {
		p.uploads = noUploadLog{}
	}
	p.run(ctx)
	return p.result(ctx, plan)
}

// result returns the result of a push that has ended.
func (p *push) result(ctx context.Context, plan Plan) (run.Pushed, error) {
	visible := make(map[nix.StorePath]bool, len(p.added))
	for _, a := range p.added {
		visible[a.Path] = true
	}
	result := run.Pushed{Added: p.added, There: len(plan.There), Upstream: len(plan.Upstream)}
	for _, path := range nix.PathsOf(plan.Push) {
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

// shorten joins the first errors, and adds the number of the others.
func shorten(errs []error) error {
	const most = 10
	if more := len(errs) - most; more > 1 {
		errs = append(errs[:most:most], fmt.Errorf("and %d more objects were not pushed", more))
	}
	return errors.Join(errs...)
}
