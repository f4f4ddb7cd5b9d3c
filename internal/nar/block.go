package nar

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	blockSize = 512 << 10
	// readAhead is the number of blocks that are read before peek needs them.
	readAhead = 4
)

// blockReader reads a stream ahead in a goroutine, so that two streams can be read in parallel.
// It copies nothing: peek returns a part of the block that was read.
type blockReader struct {
	filled chan block
	free   chan []byte
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	// stopped is the cause of the context's end, if that came before the end of the stream. It is set before filled is closed.
	stopped error

	current []byte // the block that peek returns
	rest    []byte // the unread part of current
	err     error  // the error after current
	pos     int64  // bytes read
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

// peek returns the next bytes of the stream, at least one. They are valid until the next call of peek or discard.
// At the end of the stream the error is [io.EOF].
func (b *blockReader) peek() ([]byte, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		if b.current != nil {
			b.free <- b.current[:cap(b.current)] // never blocks: free has room for all blocks
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

// discard skips n bytes that peek has returned.
func (b *blockReader) discard(n int) {
	b.rest = b.rest[n:]
	b.pos += int64(n)
}

// read fills p. At the end of the stream the error is [io.ErrUnexpectedEOF], with the offset.
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

// close stops the goroutine and waits for it.
func (b *blockReader) close() {
	b.cancel()
	<-b.done
}
