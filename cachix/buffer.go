package cachix

import (
	"io"
	"sync"
)

// buffers keeps those of whole parts for the next ones: garbage of their size would be collected too late to keep
// the memory of a push within its bounds.
type buffers struct {
	mu   sync.Mutex
	free [][]byte
}

// get returns an empty buffer with room for so many bytes.
func (b *buffers) get(size int64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := len(b.free) - 1; size == partSize && last >= 0 {
		buffer := b.free[last]
		b.free = b.free[:last]
		return buffer
	}
	return make([]byte, 0, size)
}

// put takes a buffer back, which nobody reads any more.
func (b *buffers) put(buffer []byte) {
	if cap(buffer) != partSize {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buffer[:0])
}

// countingWriter tells how many bytes are written through it.
type countingWriter struct {
	io.Writer
	count func(int64)
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.count(int64(n))
	return n, err
}
