package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// frame is a part of a NAR in an import.
type frame struct {
	nar        []byte          // a buffer of [frameSize]
	zst        []byte          // the compressed bytes
	compressed chan struct{}   // closed when zst is there
	last       *importedObject // the object that the frame completes; nil for the frames before
}

// importedObject is a store object whose NAR was read. Each stage of an import sets some of the fields.
type importedObject struct {
	nar.Object
	narHash nix.Hash
	narSize int64
	exists  bool // in the cache, with the same NAR: nothing to write

	file     string // the compressed NAR, in the work directory
	fileHash nix.Hash
	fileSize int64
	synced   chan error // receives one value when the file is on disk
}

// importer is the first stage: it splits the NARs of a stream into frames, and hashes them.
type importer struct {
	ctx   context.Context // of this one import, for the callbacks of ReadExport
	dir   *Dir
	free  chan *frame // frames not in use
	work  chan *frame // to the compressors
	queue chan *frame // to the writer, in the stream's order

	current *frame      // is being filled; nil between two objects
	digest  *nar.Digest // of the NAR so far
}

// newImporter returns an importer with a fixed number of frames. Its channels are buffered for all of them, so sends never
// block.
func newImporter(ctx context.Context, dir *Dir, frames int) *importer {
	p := &importer{
		ctx:    ctx,
		dir:    dir,
		free:   make(chan *frame, frames),
		work:   make(chan *frame, frames),
		queue:  make(chan *frame, frames),
		digest: nar.NewDigest(),
	}
	for range frames {
		p.free <- new(frame)
	}
	return p
}

// run reads the stream to its end, and closes the channels to the next stages.
func (p *importer) run(stream io.Reader) error {
	defer close(p.queue)
	defer close(p.work)
	return nar.ReadExport(regular.Until(p.ctx, stream), nar.CopyTo(p), p.object)
}

// Write receives bytes of a NAR. A full frame is passed on when more bytes follow: the last frame waits for the metadata of
// its object.
func (p *importer) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		if p.current != nil && len(p.current.nar) == frameSize {
			_, _ = p.digest.Write(p.current.nar)
			p.pass(nil)
		}
		if p.current == nil {
			if err := p.takeFree(); err != nil {
				return 0, err
			}
		}
		n := min(len(b), frameSize-len(p.current.nar))
		p.current.nar = append(p.current.nar, b[:n]...)
		b = b[n:]
	}
	return written, nil
}

func (p *importer) takeFree() error {
	select {
	case f := <-p.free:
		if f.nar == nil {
			f.nar = make([]byte, 0, frameSize)
			f.zst = make([]byte, 0, frameSize+frameSize/64) // data that cannot be compressed grows slightly
		}
		f.nar, f.zst = f.nar[:0], f.zst[:0]
		f.compressed = make(chan struct{})
		p.current = f
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// pass sends the current frame to the next stages; last is the object that it completes, if any.
func (p *importer) pass(last *importedObject) {
	f := p.current
	p.current = nil
	f.last = last
	if last != nil && last.exists {
		close(f.compressed) // the frame is not needed
	} else {
		p.work <- f
	}
	p.queue <- f
}

// object receives the metadata of the NAR that has just ended. Only now is it known whether the object exists in the cache.
// If so, its last frame is not compressed. This is rare: objects exist only if another run adds them at the same time.
func (p *importer) object(o nar.Object) error {
	_, _ = p.digest.Write(p.current.nar)
	done := &importedObject{
		Object:  o,
		narHash: p.digest.Hash(),
		narSize: p.digest.Size,
		synced:  make(chan error, 1),
	}
	p.digest.Reset()

	var err error
	if done.exists, err = p.dir.hasSame(o.Path, done.narHash); err != nil {
		return err
	}
	p.pass(done)
	return nil
}

// hasSame returns whether the cache has a store object. It returns an error if the object has another NAR there.
func (d *Dir) hasSame(path nix.StorePath, narHash nix.Hash) (bool, error) {
	info, err := d.info(path)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read narinfo of %s: %w", path, err)
	case !info.NARHash.Equal(narHash):
		return false, fmt.Errorf("%s: its NAR hash is %v, but that of the cache is %v", path, narHash, info.NARHash)
	}
	return true, nil
}
