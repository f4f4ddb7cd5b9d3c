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

// frame is a piece of a NAR on its way through an import.
type frame struct {
	nar        []byte        // a buffer of [frameSize]
	zst        []byte        // what it was compressed to
	compressed chan struct{} // closed when zst is there
	last       *packed       // the object that the frame completes; nil for the frames before
}

// packed is a store object of which the NAR was read. Each stage of an import fills in what it finds out.
type packed struct {
	nar.Object
	narHash nix.Hash
	narSize int64
	exists  bool // in the cache, with the same NAR: nothing to write

	file     string // the compressed NAR, in the work directory
	fileHash nix.Hash
	fileSize int64
	synced   chan error // gets one value when the file is on disk
}

// packer is the first stage: it cuts the NARs of a stream into frames and hashes them.
type packer struct {
	ctx   context.Context // of this one import, for the callbacks of ReadExport
	dir   *Dir
	free  chan *frame // frames not in use
	work  chan *frame // to the compressors
	queue chan *frame // to the writer, in the stream's order

	current *frame      // takes what is read; nil between two objects
	digest  *nar.Digest // of the NAR so far
}

// newPacker makes a packer with a number of frames, all there will be: a channel of as many never blocks its sender.
func newPacker(ctx context.Context, dir *Dir, frames int) *packer {
	p := &packer{
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

// execute reads the stream to its end, then closes the channels to the next stages.
func (p *packer) run(stream io.Reader) error {
	defer close(p.queue)
	defer close(p.work)
	return nar.ReadExport(regular.Until(p.ctx, stream), nar.CopyTo(p), p.object)
}

// Write takes a piece of a NAR.
// A frame is passed on when more follows, so that the last one can wait for its object's name.
func (p *packer) Write(b []byte) (int, error) {
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

func (p *packer) takeFree() error {
	select {
	case f := <-p.free:
		if f.nar == nil {
			f.nar = make([]byte, 0, frameSize)
			f.zst = make([]byte, 0, frameSize+frameSize/64) // more than comes of what cannot be compressed
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
func (p *packer) pass(last *packed) {
	f := p.current
	p.current = nil
	f.last = last
	if last != nil && last.exists {
		close(f.compressed) // nobody will look at it
	} else {
		p.work <- f
	}
	p.queue <- f
}

// object takes the metadata of the NAR that has just ended.
// What exists is told only now: a NAR of one frame is then not compressed, a longer one was for nothing.
// Import is not asked for what exists, but where two runs overlap.
func (p *packer) object(o nar.Object) error {
	_, _ = p.digest.Write(p.current.nar)
	done := &packed{
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

// hasSame tells whether the cache has a store object. One with another NAR is an error.
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
