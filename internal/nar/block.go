package nar

import (
	"context"
	"io"
)

const (
	blockSize = 512 << 10
	// readAhead is the number of blocks that are read before NextBlock needs them.
	readAhead = 4
)

// blockReader reads a stream ahead in a goroutine, so that two streams can be read in parallel.
// It copies nothing: NextBlock returns the block that was read.
type blockReader struct {
	filled chan block
	free   chan []byte
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	// stopped is the cause of the context's end, if that came before the end of the stream. It is set before filled is closed.
	stopped error

	current []byte // the block that NextBlock has returned
	err     error  // the error after current
}

type block struct {
	data []byte
	err  error
}

// newBlockReader reads r in a goroutine, which ends with the stream, with the context, or in close.
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

// readBlock fills buf as far as the stream goes. Unlike [io.ReadFull], it returns [io.EOF] where the stream ends within
// buf: io.ErrUnexpectedEOF is what a decoder returns for truncated data.
func readBlock(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// NextBlock implements [Blocks].
func (b *blockReader) NextBlock() ([]byte, error) {
	if b.current != nil {
		b.free <- b.current[:cap(b.current)] // has space for all blocks
		b.current = nil
	}
	for b.err == nil {
		next, ok := <-b.filled
		if !ok {
			b.err = b.stopped
			break
		}
		b.current, b.err = next.data, next.err
		if len(next.data) > 0 {
			return next.data, nil
		}
	}
	return nil, b.err
}

// close stops the goroutine and waits for it.
func (b *blockReader) close() {
	b.cancel()
	<-b.done
}
