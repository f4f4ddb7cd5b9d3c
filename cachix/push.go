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

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
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
	// goneAfter is how many objects in a row the server has to fail, each as often as it was tried, to count as gone.
	// One may be an object's own bad luck.
	goneAfter = 4
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
		reading: turns{free: 2 * runtime.GOMAXPROCS(0)},
		objects: make(map[nix.StorePath]*object, len(plan.Push)),
		meter:   meter{report: o.Report, now: Progress{OfPaths: len(plan.Push), OfBytes: plan.Bytes}},
	}
	for i, info := range plan.Push {
		p.objects[info.Path] = &object{PathInfo: info, rank: i, over: make(chan struct{})}
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

	reading turns // those NARs that are read at a time
	objects map[nix.StorePath]*object
	meter   meter

	mu    sync.Mutex
	added []nix.Added
	errs  []error
	gone  int // objects in a row that failed because the server did not answer
}

// object is a store object on its way.
type object struct {
	nix.PathInfo
	rank int           // place in the plan
	read int64         // bytes of its NAR
	over chan struct{} // closed when it is visible, or never will be
	err  error         // set before over is closed
}

// run begins the uploads in order, and returns when every object is over.
func (p *push) run(ctx context.Context, infos []nix.PathInfo) {
	open := make(chan struct{}, openUploads)
	var all sync.WaitGroup // bounded by open: an object that waits for its references holds no place any more
	for _, info := range infos {
		o := p.objects[info.Path]
		open <- struct{}{} // each holder gives it back soon after ctx is done
		all.Go(func() {
			o.err = p.object(ctx, o, sync.OnceFunc(func() { <-open }))
			p.note(ctx, o) // before those that refer to it note that it is missing
			close(o.over)
		})
	}
	all.Wait()
	p.meter.flush()
}

// object brings one object up. Where the server does not know of the upload any more, another is begun, once.
// Sent is called when nothing more of the NAR is to be sent.
func (p *push) object(ctx context.Context, o *object, sent func()) error {
	u, err := p.try(ctx, o, sent)
	if u != nil && hasStatus(err, http.StatusNotFound) && ctx.Err() == nil {
		p.meter.packed(-o.read)
		o.read = 0
		_, err = p.try(ctx, o, sent)
	}
	return err
}

// try sends the NAR of an object and, when all that it refers to is visible, makes it visible itself.
// It takes back an upload that is not completed. The upload is nil where none was begun.
func (p *push) try(ctx context.Context, o *object, sent func()) (*upload, error) {
	u, packed, err := p.upload(ctx, o)
	sent()
	if u == nil {
		return nil, err
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
		return u, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added = append(p.added, nix.Added{Path: o.Path, NARSize: packed.NARSize, FileSize: packed.FileSize})
	return u, nil
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
	packed, err := p.send(ctx, u, o, nar)
	if sendErr := u.wait(); sendErr != nil {
		err = sendErr // it is why reading ended, if that did
	}
	if err == nil && (packed.NARSize != o.NARSize || !packed.NARHash.Equal(o.NARHash)) {
		err = o.altered(fmt.Sprintf("is %s, %d bytes", packed.NARHash.SRI(), packed.NARSize))
	}
	return u, packed, err
}

// altered is the error of a NAR that is not what Nix has noted.
func (o *object) altered(how string) error {
	return hint.Wrap(fmt.Errorf("the store object was altered: its NAR %s, where Nix has noted %s, %d bytes", how, o.NARHash.SRI(), o.NARSize),
		"look at it by nix-store --verify-path %s, and build it again", o.Path)
}

// send reads a NAR, when it is its turn, and hands it to the upload part by part.
func (p *push) send(ctx context.Context, u *upload, o *object, nar narReader) (binarycache.Packed, error) {
	if err := p.reading.take(ctx, o.rank); err != nil {
		return binarycache.Packed{}, err
	}
	defer p.reading.give()
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

// note keeps the error of an object. One that holds for all objects ends the push.
func (p *push) note(ctx context.Context, o *object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.err == nil {
		p.gone = 0
		p.meter.completed()
		return
	}
	if ctx.Err() != nil {
		return // the reason is the context's
	}
	var gone *UnavailableError
	if errors.As(o.err, &gone) {
		p.gone++
	}
	err := fmt.Errorf("push %s: %w", o.Path, o.err)
	if p.gone == goneAfter || hasStatus(o.err, http.StatusUnauthorized) || hasStatus(o.err, http.StatusForbidden) {
		p.stop(err)
		return
	}
	p.errs = append(p.errs, err)
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
