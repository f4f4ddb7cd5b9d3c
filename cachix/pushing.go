package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const (
	// pushWorkers is how many objects are being sent or made visible at a time.
	// Small ones spend nearly all of that time waiting for the network.
	pushWorkers = DefaultJobs
	// goneAfter is how many objects in a row the server has to fail, each as often as it was tried, to count as gone.
	// One may be an object's own bad luck.
	goneAfter = 4
)

// push is one call of [Client.Push].
type push struct {
	client      *Client
	source      Source
	press       *binarycache.Press
	compression nar.Compression
	uploads     UploadLog
	stop        context.CancelCauseFunc // ends it, for a reason that holds for every object

	order   *order
	reading turns // those NARs that are read at a time
	meter   meter

	mu    sync.Mutex
	added []nix.Added
	errs  []error
	gone  int // objects in a row that failed because the server did not answer
}

// execute returns when every object is over.
func (p *push) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.order.giveUp)
	defer stop()
	undo, cancel := outlive(ctx, p.client.patience.last+p.client.patience.undo) // for all that has to be taken back
	defer cancel()
	var workers sync.WaitGroup
	for range min(pushWorkers, len(p.order.todo)) {
		workers.Go(func() {
			for {
				o, ok := p.order.next()
				if !ok {
					return
				}
				p.advance(ctx, undo, o)
			}
		})
	}
	workers.Wait()
	p.meter.flush()
}

// advance brings an object one step further: its NAR to the storage, or, when all that it refers to is visible, the
// object into view. Where the server does not know of the upload any more, another is begun, once.
func (p *push) advance(ctx, undo context.Context, o *object) {
	waits, err := p.attempt(ctx, undo, o)
	if waits {
		return // another worker may have it by now
	}
	if !o.again && o.upload != nil && hasStatus(err, http.StatusNotFound) && ctx.Err() == nil {
		p.meter.packed(-o.read)
		o.again, o.upload, o.read = true, nil, 0
		if waits, err = p.attempt(ctx, undo, o); waits {
			return
		}
	}
	o.upload = nil      // which nobody needs any more
	p.note(ctx, o, err) // before those that refer to it note that it is missing
	p.order.over(o, err)
}

// attempt sends an object that is not sent yet, and makes it visible if it need not wait for another.
// An upload that fails is taken back.
func (p *push) attempt(ctx, undo context.Context, o *object) (waits bool, err error) {
	if o.upload == nil {
		if err = p.order.lost(o); err == nil {
			err = p.send(ctx, o)
		}
		if err == nil && p.order.wait(o) {
			return true, nil
		}
	}
	if err == nil {
		err = p.complete(ctx, o)
	}
	if o.upload != nil && (err == nil || o.upload.abort(undo)) {
		p.uploads.Ended(o.upload.reference())
	}
	return false, err
}

// complete makes an object visible that is sent.
func (p *push) complete(ctx context.Context, o *object) error {
	if err := p.order.lost(o); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	create, err := p.client.newNARInfo(o.PathInfo, o.packed)
	if err != nil {
		return err
	}
	if err := o.upload.complete(ctx, create); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.added = append(p.added, nix.Added{Path: o.Path, NARSize: o.packed.NARSize, FileSize: o.packed.FileSize})
	return nil
}

// send begins the upload of an object, and sends its NAR.
func (p *push) send(ctx context.Context, o *object) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	nar, err := p.open(o)
	if err != nil {
		return err
	}
	defer nar.Close()
	if o.upload, err = p.client.create(ctx, nar.compression()); err != nil {
		return err
	}
	p.uploads.Begun(o.upload.reference())
	o.packed, err = p.sendParts(ctx, o, nar)
	if sendErr := o.upload.wait(); sendErr != nil {
		err = sendErr // it is why reading ended, if that did
	}
	if err == nil && (o.packed.NARSize != o.NARSize || !o.packed.NARHash.Equal(o.NARHash)) {
		err = o.altered(fmt.Sprintf("is %s, %d bytes", o.packed.NARHash.SRI(), o.packed.NARSize))
	}
	return err
}

// sendParts reads a NAR, when it is its turn, and hands it to the upload part by part.
func (p *push) sendParts(ctx context.Context, o *object, nar narReader) (binarycache.Packed, error) {
	if err := p.reading.take(ctx, o.rank); err != nil {
		return binarycache.Packed{}, err
	}
	defer p.reading.give()
	return nar.parts(ctx, func(part part) error {
		o.upload.send(ctx, part, p.meter.sent)
		return o.upload.failed() // there is no use in reading on
	})
}

// altered is the error of a NAR that is not what Nix has noted.
func (o *object) altered(how string) error {
	return hint.Wrap(fmt.Errorf("the store object was altered: its NAR %s, where Nix has noted %s, %d bytes", how, o.NARHash.SRI(), o.NARSize),
		"look at it by nix-store --verify-path %s, and build it again", o.Path)
}

// note keeps what became of an object. An error that holds for all objects ends the push.
func (p *push) note(ctx context.Context, o *object, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.gone = 0
		p.meter.completed()
		return
	}
	if ctx.Err() != nil {
		return // the reason is the context's
	}
	var gone *UnavailableError
	if errors.As(err, &gone) {
		p.gone++
	}
	err = fmt.Errorf("push %s: %w", o.Path, err)
	if p.gone == goneAfter || hasStatus(err, http.StatusUnauthorized) || hasStatus(err, http.StatusForbidden) {
		p.stop(err)
		return
	}
	p.errs = append(p.errs, err)
}
