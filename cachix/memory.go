package cachix

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// partMemory limits the size of the parts that are being filled or sent, in all pushes of a client. So it also limits how
// many parts are sent at the same time. Parts of files use no memory, but they count too: on a slow link, the URLs of more
// parts would expire before the parts arrive.
const partMemory = 64 << 20

// memory reserves memory for parts, and reuses their buffers. A part that is larger than [partMemory] reserves all of it;
// only a NAR of more than half a terabyte has such parts.
type memory struct {
	room *semaphore.Weighted

	mu   sync.Mutex
	used int64 // size of the buffers in use
	// free has buffers of size [partSize] for reuse: the garbage collector would free them too late. The buffers in free
	// and in use together are smaller than [partMemory].
	free [][]byte
}

func newMemory() *memory { return &memory{room: semaphore.NewWeighted(partMemory)} }

// reserve waits until a part of a size may be filled or sent. The error is the cause of the context.
func (m *memory) reserve(ctx context.Context, size int64) error {
	if m.room.Acquire(ctx, min(size, partMemory)) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// release undoes reserve.
func (m *memory) release(size int64) { m.room.Release(min(size, partMemory)) }

// buffer waits for memory, and returns an empty buffer with that capacity.
func (m *memory) buffer(ctx context.Context, size int64) ([]byte, error) {
	if err := m.reserve(ctx, size); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used += size
	if last := len(m.free) - 1; size == partSize && last >= 0 {
		buffer := m.free[last]
		m.free = m.free[:last]
		return buffer, nil
	}
	for len(m.free) > 0 && m.used+int64(len(m.free))*partSize > partMemory {
		last := len(m.free) - 1
		m.free[last] = nil
		m.free = m.free[:last]
	}
	return make([]byte, 0, size), nil
}

// give undoes buffer.
func (m *memory) give(buffer []byte, size int64) {
	defer m.release(size)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= size
	if size == partSize {
		m.free = append(m.free, buffer[:0])
	}
}
