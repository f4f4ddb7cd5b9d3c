package cachix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
	Compression binarycache.Compression
	Level       int
	// Report, where it is not nil, is told now and then how far the push is. It must not block.
	Report func(Progress)
}

// Progress of a push.
type Progress struct {
	Paths, OfPaths int   // store objects that are visible
	Bytes, OfBytes int64 // of NARs, read and compressed
	Sent           int64 // compressed bytes that the storage has taken
}

// Pushed is what came of a push.
type Pushed struct {
	// Added is what this push has made visible, in the order in which it became so.
	Added []nix.Added
	// Left is what it has not: the rest of the plan.
	Left []nix.StorePath
}

const (
	// openUploads is how many objects are between the beginning of their upload and its last byte.
	// Small ones spend nearly all of that time waiting for the network.
	openUploads = DefaultJobs
	// partMemory bounds the parts in memory, sent or waiting to be. What comes from files takes none.
	partMemory = 64 << 20
)

// Push makes the objects of a plan visible, each only after all that it refers to.
// NARs go up in the plan's order, several at a time, compressed and sent while they are read.
//
// An object that fails does not keep others from going up, but those that refer to it. Where the server refuses the
// credential or does not answer any more, the push ends; the error is then an [*UnavailableError] or a [*StatusError],
// wrapped. When ctx is done, uploads that have begun are taken back. What was pushed is returned beside every error.
func (c *Client) Push(ctx context.Context, plan Plan, source Source, o PushOptions) (Pushed, error) {
	press, err := binarycache.NewPress(binarycache.PressOptions{Compression: o.Compression, Level: o.Level})
	if err != nil {
		return Pushed{Left: paths(plan.Push)}, fmt.Errorf("push to %s: %v", c.name, err)
	}
	defer press.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &push{
		client: c, source: source, press: press, compression: cmp.Or(o.Compression, binarycache.Zstd), stop: stop,
		packing: make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		memory:  semaphore.NewWeighted(partMemory),
		objects: make(map[nix.StorePath]*object, len(plan.Push)),
		meter:   meter{report: o.Report, now: Progress{OfPaths: len(plan.Push), OfBytes: plan.Bytes}},
	}
	for _, info := range plan.Push {
		p.objects[info.Path] = &object{PathInfo: info, over: make(chan struct{})}
	}
	p.run(ctx, plan.Push)
	return p.result(ctx, plan)
}

func paths(infos []nix.PathInfo) []nix.StorePath {
	all := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		all[i] = info.Path
	}
	return all
}

// push is one call of [Client.Push].
type push struct {
	client      *Client
	source      Source
	press       *binarycache.Press
	compression binarycache.Compression
	stop        context.CancelCauseFunc // ends it, for a reason that holds for every object

	packing chan struct{}       // has a place for each NAR that may be read at a time
	memory  *semaphore.Weighted // for parts
	buffers buffers

	objects map[nix.StorePath]*object
	meter   meter

	mu    sync.Mutex
	added []nix.Added
	errs  []error
}

// object is a store object on its way.
type object struct {
	nix.PathInfo
	over chan struct{} // closed when it is visible, or never will be
	err  error         // set before over is closed
}

// run begins the uploads in order, and returns when every object is over.
func (p *push) run(ctx context.Context, infos []nix.PathInfo) {
	open := make(chan struct{}, openUploads)
	var all errgroup.Group // its limit is open: an object that waits for its references holds no place any more
	for _, info := range infos {
		o := p.objects[info.Path]
		open <- struct{}{} // each holder gives it back soon after ctx is done
		all.Go(func() error {
			o.err = p.object(ctx, o, func() { <-open })
			close(o.over)
			p.note(ctx, o)
			return nil
		})
	}
	_ = all.Wait()
	p.meter.flush()
}

// object brings one object up: its NAR first, and when all that it refers to is visible, the object itself.
// Sent is called when nothing more of the NAR is to be sent.
func (p *push) object(ctx context.Context, o *object, sent func()) error {
	u, packed, err := p.upload(ctx, o)
	sent()
	if u == nil {
		return err
	}
	var create narInfoCreate
	if err == nil {
		create, err = p.client.newNARInfo(o.PathInfo, packed)
	}
	if err == nil {
		err = p.references(ctx, o)
	}
	if err == nil {
		err = u.complete(ctx, create)
	}
	if err != nil {
		u.abort(ctx)
		return err
	}
	p.mu.Lock()
	p.added = append(p.added, nix.Added{Path: o.Path, NARSize: packed.NARSize, FileSize: packed.FileSize})
	p.mu.Unlock()
	return nil
}

// upload sends the NAR of an object. The upload is nil where none was begun.
func (p *push) upload(ctx context.Context, o *object) (*upload, binarycache.Packed, error) {
	if ctx.Err() != nil {
		return nil, binarycache.Packed{}, context.Cause(ctx)
	}
	nar, err := p.open(o)
	if err != nil {
		return nil, binarycache.Packed{}, err
	}
	defer nar.Close()
	u, err := p.client.create(ctx, nar.compression())
	if err != nil {
		return nil, binarycache.Packed{}, err
	}
	packed, err := p.send(ctx, u, nar)
	if sendErr := u.wait(); err == nil {
		err = sendErr
	}
	if err == nil && (packed.NARSize != o.NARSize || !packed.NARHash.Equal(o.NARHash)) {
		err = fmt.Errorf("its NAR is %s, %d bytes, where Nix has noted %s, %d bytes: the store object was altered (nix-store --verify-path %s)",
			packed.NARHash.SRI(), packed.NARSize, o.NARHash.SRI(), o.NARSize, o.Path)
	}
	return u, packed, err
}

// send reads a NAR, when it is its turn, and hands it to the upload part by part.
func (p *push) send(ctx context.Context, u *upload, nar narReader) (binarycache.Packed, error) {
	select {
	case p.packing <- struct{}{}:
		defer func() { <-p.packing }()
	case <-ctx.Done():
		return binarycache.Packed{}, context.Cause(ctx)
	}
	return nar.parts(ctx, func(part part) error {
		u.send(ctx, part, p.meter.sent)
		return u.failed() // there is no use in reading on
	})
}

// references waits until all that an object refers to is visible. What is not part of the push was there before.
func (p *push) references(ctx context.Context, o *object) error {
	for _, path := range o.References {
		r := p.objects[path]
		if r == nil || r == o {
			continue
		}
		select {
		case <-r.over:
			if r.err != nil {
				return fmt.Errorf("its reference %s is not there", path)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// note keeps the error of an object. One that holds for all objects ends the push, and is noted once.
func (p *push) note(ctx context.Context, o *object) {
	if o.err == nil {
		p.meter.completed()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // the reason is the context's
	}
	err := fmt.Errorf("push %s: %w", o.Path, o.err)
	if isFatal(o.err) {
		p.stop(err)
		return
	}
	p.errs = append(p.errs, err)
}

// isFatal says whether an error of one object is one of all.
func isFatal(err error) bool {
	var gone *UnavailableError
	var status *StatusError
	return errors.As(err, &gone) ||
		errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden)
}

// result says what came of the push, when it is over.
func (p *push) result(ctx context.Context, plan Plan) (Pushed, error) {
	visible := make(map[nix.StorePath]bool, len(p.added))
	for _, a := range p.added {
		visible[a.Path] = true
	}
	result := Pushed{Added: p.added}
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
