package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	blockSize = 512 << 10
	// readAhead is how many blocks of a stream are read before they are asked for.
	readAhead = 4
)

// blockReader hands a stream out in blocks that a goroutine reads ahead, so that two streams are read side by side.
// Nothing is copied: what peek returns is the block itself.
type blockReader struct {
	filled chan block
	free   chan []byte
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	// stopped is why the goroutine has ended before the stream; it is set before filled is closed.
	stopped error

	current []byte // of the block that is being read
	rest    []byte // what of it is still to come
	err     error  // what ended the stream, once current is used up
	pos     int64  // bytes handed out
}

type block struct {
	data []byte
	err  error
}

// newBlockReader reads r in a goroutine of its own until close is called, or the context is done.
func newBlockReader(ctx context.Context, r io.Reader) *blockReader {
	ctx, cancel := context.WithCancel(ctx)
	b := &blockReader{
		filled: make(chan block, readAhead),
		free:   make(chan []byte, readAhead+1),
		cancel: cancel,
		done:   make(chan struct{}),
	}
	for range readAhead + 1 {
		b.free <- nil
	}
	go func() {
		defer close(b.done)
		defer close(b.filled)
		b.fill(ctx, r)
	}()
	return b
}

func (b *blockReader) fill(ctx context.Context, r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-b.free:
		case <-ctx.Done():
			b.stopped = context.Cause(ctx)
			return
		}
		if buf == nil {
			buf = make([]byte, blockSize)
		}
		n, err := readBlock(r, buf)
		select {
		case b.filled <- block{buf[:n], err}:
		case <-ctx.Done():
			b.stopped = context.Cause(ctx)
			return
		}
		if err != nil {
			return
		}
	}
}

// readBlock fills buf as far as the stream goes. [io.ReadFull] would do, but that it says of a stream's plain end
// within a block what a decoder says of one that was cut off.
func readBlock(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// peek returns what is there of the stream, at least one byte, until the next call of peek or discard.
// At the end of the stream the error is [io.EOF].
func (b *blockReader) peek() ([]byte, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		if b.current != nil {
			b.free <- b.current[:cap(b.current)] // has room for all there are
			b.current = nil
		}
		next, ok := <-b.filled
		if !ok {
			b.err = b.stopped
			continue
		}
		b.current, b.rest, b.err = next.data, next.data, next.err
	}
	return b.rest, nil
}

// discard passes over n bytes of what peek has returned.
func (b *blockReader) discard(n int) {
	b.rest = b.rest[n:]
	b.pos += int64(n)
}

// read fills p. A stream that ends before is [io.ErrUnexpectedEOF], with its place.
func (b *blockReader) read(p []byte) error {
	for len(p) > 0 {
		have, err := b.peek()
		if err != nil {
			return b.readError(err)
		}
		n := copy(p, have)
		b.discard(n)
		p = p[n:]
	}
	return nil
}

func (b *blockReader) readError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at byte %d: %w", b.pos, err)
}

// close ends the goroutine and waits for it.
func (b *blockReader) close() {
	b.cancel()
	<-b.done
}
