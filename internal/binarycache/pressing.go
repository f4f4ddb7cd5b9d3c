package binarycache

import (
	"context"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// piece is a part of a NAR, on its way through a [Press].
type piece struct {
	buf     []byte        // its bytes, and then the frame that they were compressed to
	index   int           // which piece of its NAR it is, from 0 on
	own     bool          // belongs to one Pack, and is not for the others
	run     *pressing     // whose it is now
	pressed chan struct{} // gets a value when buf has the frame; has room for it
}

func newPiece(own bool) *piece { return &piece{own: own, pressed: make(chan struct{}, 1)} }

// reset makes the piece that of a pressing, and empty. Its buffer is made when it is first needed.
func (p *piece) reset(run *pressing) {
	if p.buf == nil {
		p.buf = make([]byte, 0, run.press.codec.pieceCap())
	}
	p.buf = p.buf[:0]
	p.run, p.index = run, run.taken
	run.taken++
}

// pressing is one Pack under way. Its producer is the goroutine that called Pack, its collector another:
// pieces go from the first to the compressors, and in order to the second.
type pressing struct {
	press  *Press
	ctx    context.Context // of this one Pack, for the writer's callbacks; done as soon as any stage fails
	cancel context.CancelCauseFunc
	own    chan *piece // has the piece of its own, when it is not under way
	queue  chan *piece // to the collector; has room for all pieces

	// The producer's.
	current *piece // takes what is written
	taken   int    // pieces so far
	nar     *nar.Digest

	// The collector's.
	file *nar.Digest
}

func newPressing(ctx context.Context, p *Press, own *piece) *pressing {
	run := &pressing{
		press: p,
		own:   make(chan *piece, 1),
		queue: make(chan *piece, 1+cap(p.common)),
		nar:   nar.NewDigest(),
		file:  nar.NewDigest(),
	}
	run.ctx, run.cancel = context.WithCancelCause(ctx)
	run.own <- own
	return run
}

// produce has the NAR written, to its last piece.
func (r *pressing) produce(write func(io.Writer) error) {
	if err := write(pieceWriter{r}); err != nil {
		r.cancel(err)
		return
	}
	// A NAR of no bytes has a frame too: no file of zstd or xz is empty.
	if r.current == nil && r.nar.Size == 0 && r.press.codec.newEncoder != nil {
		if err := r.take(); err != nil {
			return
		}
	}
	if r.current != nil {
		r.pass()
	}
}

// pieceWriter is the writer of a NAR. It implements [nar.BufferedWriter].
type pieceWriter struct{ *pressing }

func (w pieceWriter) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		buf, err := w.Buffer(len(b))
		if err != nil {
			return written, err
		}
		n := copy(buf, b)
		_ = w.Commit(n)
		b = b[n:]
		written += n
	}
	return written, nil
}

// Buffer returns a buffer of 1 to n bytes for the next bytes of the NAR.
func (w pieceWriter) Buffer(n int) ([]byte, error) {
	if w.current == nil {
		if err := w.take(); err != nil {
			return nil, err
		}
	}
	have := len(w.current.buf)
	return w.current.buf[have:min(have+n, w.press.codec.pieceSize)], nil
}

// Commit marks the first n bytes of that buffer as written. It cannot fail.
func (w pieceWriter) Commit(n int) error {
	have := len(w.current.buf)
	w.current.buf = w.current.buf[:have+n]
	_, _ = w.nar.Write(w.current.buf[have:])
	if have+n == w.press.codec.pieceSize {
		w.pass()
	}
	return nil
}

// take waits for a piece: its own, or a common one.
func (r *pressing) take() error {
	if r.ctx.Err() != nil { // rather than go on, where both can be done
		return context.Cause(r.ctx)
	}
	select {
	case r.current = <-r.own:
	case r.current = <-r.press.common:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	r.current.reset(r)
	return nil
}

// pass sends the current piece to the compressors and to the collector. Both channels have room.
func (r *pressing) pass() {
	p := r.current
	r.current = nil
	r.queue <- p
	if r.press.codec.newEncoder == nil {
		p.pressed <- struct{}{}
	} else {
		r.press.work <- p
	}
}

// endQueue tells the collector that no piece follows.
func (r *pressing) endQueue() {
	if r.current != nil {
		r.release(r.current)
		r.current = nil
	}
	close(r.queue)
}

// collect passes frames to the sink, in the order of the NAR, and the pieces back.
// After a failure it only waits for the compressors to be done with them.
func (r *pressing) collect(sink func([]byte) error) {
	for p := range r.queue {
		<-p.pressed
		if r.ctx.Err() == nil {
			_, _ = r.file.Write(p.buf)
			if err := sink(p.buf); err != nil {
				r.cancel(fmt.Errorf("sink: %w", err))
			}
		}
		r.release(p)
	}
}

func (r *pressing) release(p *piece) {
	if p.own {
		r.own <- p
	} else {
		r.press.common <- p
	}
}

// result returns what was packed, when both ends are done.
func (r *pressing) result() (Packed, error) {
	if r.ctx.Err() != nil {
		return Packed{}, context.Cause(r.ctx)
	}
	return Packed{NARHash: r.nar.Hash(), NARSize: r.nar.Size, FileHash: r.file.Hash(), FileSize: r.file.Size}, nil
}

// compressPieces compresses pieces until there are no more.
// It has one buffer more, and leaves the piece the one with the frame: a frame is shorter, or hardly longer.
func compressPieces(encode encode, size int, work <-chan *piece) {
	frame := make([]byte, 0, size)
	for p := range work {
		if p.run.ctx.Err() == nil { // else nobody wants it any more
			var err error
			if frame, err = encode(frame[:0], p.buf, p.index); err != nil {
				p.run.cancel(fmt.Errorf("compress: %w", err))
			}
			p.buf, frame = frame, p.buf
		}
		p.pressed <- struct{}{}
	}
}
