package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const (
	// pushWorkers is how many objects are begun, sent and completed at the same time. Objects whose uploads have begun and
	// whose NARs wait to be read count too. Small objects spend nearly all of their time waiting for the network.
	pushWorkers = DefaultJobs
	// maxConsecutiveFailures is the number of objects in sequence without an answer of the server that ends a push. A
	// single object may fail for a temporary reason.
	maxConsecutiveFailures = 4
)

// push is one call of [Client.Push].
type push struct {
	client      *Client
	source      Source
	compressor  *nar.Compressor
	compression nar.Compression
	uploads     UploadLog
	stop        context.CancelCauseFunc // ends the push, for a reason that applies to all objects

	scheduler *scheduler
	meter     meter

	mu       sync.Mutex
	added    []nix.Added
	errs     []error
	failures int // objects in a row that failed because the server did not answer
}

// run returns when every object is finished.
func (p *push) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.scheduler.giveUp)
	defer stop()
	abort, cancel := withGracePeriod(ctx, p.client.policy.finalTimeout+p.client.policy.abortTimeout)
	defer cancel()
	var workers sync.WaitGroup
	for range min(pushWorkers, p.scheduler.left) {
		workers.Go(func() {
			for {
				o, ok := p.scheduler.next()
				if !ok {
					return
				}
				p.advance(ctx, abort, o)
			}
		})
	}
	workers.Wait()
	p.meter.flush()
}

// advance takes an object through its next stage, and enqueues it for the one that follows.
// An upload that fails is aborted, in the context abort. If the server does not know the upload, another is begun, once.
func (p *push) advance(ctx, abort context.Context, o *object) {
	err := p.step(ctx, o)
	if err == nil && o.stage < toComplete {
		p.scheduler.enqueue(o, o.stage+1)
		return
	}
	o.closeFile()
	if o.upload != nil && (err == nil || o.upload.abort(abort)) {
		p.uploads.Ended(o.upload.reference())
	}
	if !o.again && o.upload != nil && hasStatus(err, http.StatusNotFound) && ctx.Err() == nil {
		p.meter.addRead(-o.read)
		o.again, o.upload, o.read = true, nil, 0
		p.scheduler.enqueue(o, toBegin)
		return
	}
	o.upload = nil      // release its memory
	p.note(ctx, o, err) // before its dependents note that it is missing
	p.scheduler.finish(o, err)
}

// step does the work of an object's stage.
func (p *push) step(ctx context.Context, o *object) error {
	if o.stage == toRead {
		return p.send(ctx, o)
	}
	if err := p.mayGoOn(ctx, o); err != nil {
		return err
	}
	if o.stage == toBegin {
		return p.begin(ctx, o)
	}
	return p.complete(ctx, o)
}

// mayGoOn returns an error if the push was called off, or if a reference of the object will never be visible.
func (p *push) mayGoOn(ctx context.Context, o *object) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return p.scheduler.missingReference(o)
}

// begin begins the upload of an object.
func (p *push) begin(ctx context.Context, o *object) (err error) {
	if err := p.openFile(o); err != nil {
		return err
	}
	if o.upload, err = p.client.create(ctx, p.compression); err != nil {
		return err
	}
	p.uploads.Begun(o.upload.reference())
	return nil
}

// send reads the NAR of an object, sends its parts, and waits until the storage has all of them.
func (p *push) send(ctx context.Context, o *object) error {
	defer o.closeFile() // parts of a file are read from it
	err := p.read(ctx, o)
	if sendErr := o.upload.wait(); sendErr != nil {
		err = sendErr // it is the reason why reading ended
	}
	if err == nil && (o.packed.NARSize != o.NARSize || !o.packed.NARHash.Equal(o.NARHash)) {
		err = o.altered(fmt.Sprintf("is %s, %d bytes", o.packed.NARHash.SRI(), o.packed.NARSize))
	}
	return err
}

// read reads a NAR, and passes its parts to the upload.
func (p *push) read(ctx context.Context, o *object) (err error) {
	defer p.scheduler.endRead()
	if err := p.mayGoOn(ctx, o); err != nil {
		return err
	}
	parts := p.compressedParts
	if o.file != nil {
		parts = p.fileParts
	}
	o.packed, err = parts(ctx, o, func(part part) error {
		o.upload.send(ctx, part, p.meter.addSent)
		return o.upload.failed() // reading on would be useless
	})
	return err
}

// closeFile closes the file of an object, if it is open.
func (o *object) closeFile() {
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}

// complete makes an object visible. All its parts are sent.
func (p *push) complete(ctx context.Context, o *object) error {
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

// altered returns the error for a NAR that differs from the record of Nix.
func (o *object) altered(how string) error {
	return hint.Wrap(fmt.Errorf("the store object was altered: its NAR %s, but Nix has recorded %s, %d bytes", how, o.NARHash.SRI(), o.NARSize),
		"run nix-store --verify-path %s, and build it again", o.Path)
}

// note records the result of an object. An error that applies to all objects ends the push.
func (p *push) note(ctx context.Context, o *object, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.failures = 0
		p.meter.addCompleted()
		return
	}
	if ctx.Err() != nil {
		return // the error of the push is the context's
	}
	if _, unavailable := errors.AsType[*UnavailableError](err); unavailable {
		p.failures++
	}
	err = fmt.Errorf("push %s: %w", o.Path, err)
	if p.failures == maxConsecutiveFailures || hasStatus(err, http.StatusUnauthorized, http.StatusForbidden) {
		p.stop(err)
		return
	}
	p.errs = append(p.errs, err)
}
