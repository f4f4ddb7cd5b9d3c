package cachix

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// partMemory bounds the parts that are on their way, sent or waiting to be, of all pushes of a client.
// Those from files take no memory, and are counted all the same: on a slow link, more of them would not arrive
// before their URLs expire.
const partMemory = 64 << 20

// memory hands out room for parts. A part larger than all there is, as a NAR of more than half a terabyte has them,
// is alone on its way.
type memory struct {
	room *semaphore.Weighted

	mu   sync.Mutex
	used int64 // by buffers that are handed out
	// free has buffers of whole parts for the next ones: garbage of their size would be collected too late to keep the
	// memory of a push within its bounds. Together with those in use they stay below [partMemory].
	free [][]byte
}

func newMemory() *memory { return &memory{room: semaphore.NewWeighted(partMemory)} }

// reserve waits until so many bytes of parts may be on their way. The error is the context's cause.
func (m *memory) reserve(ctx context.Context, size int64) error {
	if m.room.Acquire(ctx, min(size, partMemory)) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// release takes back what reserve has given.
func (m *memory) release(size int64) { m.room.Release(min(size, partMemory)) }

// take returns an empty buffer of a capacity, for which room is reserved.
func (m *memory) take(size int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used += size
	if last := len(m.free) - 1; size == partSize && last >= 0 {
		buffer := m.free[last]
		m.free = m.free[:last]
		return buffer
	}
	for len(m.free) > 0 && m.used+int64(len(m.free))*partSize > partMemory {
		last := len(m.free) - 1
		m.free[last] = nil
		m.free = m.free[:last]
	}
	return make([]byte, 0, size)
}

// give takes a buffer back, which nobody reads any more.
func (m *memory) give(buffer []byte, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= size
	if size == partSize {
		m.free = append(m.free, buffer[:0])
	}
}
