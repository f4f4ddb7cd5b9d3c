package nar

import (
	"context"
	"io"
)

// blocksAhead is the number of blocks that wait to be used by a reader that reads ahead.
const blocksAhead = 3

// NewReaderAhead returns a reader that reads r in a goroutine, so that two archives can be read in parallel. Close ends
// the goroutine: r.Read must return in the end, or when ctx is done.
func NewReaderAhead(ctx context.Context, r io.ReadCloser) *Reader {
	type block struct {
		data []byte
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	blocks := make(chan block, blocksAhead)
	go func() {
		defer close(blocks)
		var bufs [blocksAhead + 2][]byte // one more is being filled, and one is in use
		for i := 0; ; i = (i + 1) % len(bufs) {
			if bufs[i] == nil {
				bufs[i] = make([]byte, bufferSize)
			}
			n, err := r.Read(bufs[i])
			select {
			case blocks <- block{bufs[i][:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	next := func() ([]byte, error) {
		if b, ok := <-blocks; ok {
			return b.data, b.err
		}
		return nil, context.Cause(ctx)
	}
	return &Reader{in: &input{next: next}, close: func() error {
		cancel()
		for range blocks { // until the goroutine has ended
		}
		return r.Close()
	}}
}

// Close closes the stream of a reader that reads ahead.
func (r *Reader) Close() error { return r.close() }
