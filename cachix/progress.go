package cachix

import (
	"sync"
	"time"
)

// showEvery is the least time between two reports of progress.
const showEvery = 100 * time.Millisecond

// meter adds up how far a push is.
type meter struct {
	report func(Progress)

	mu    sync.Mutex
	now   Progress
	shown time.Time
}

func (m *meter) packed(bytes int64) { m.add(0, bytes, 0) }
func (m *meter) sent(bytes int64)   { m.add(0, 0, bytes) }
func (m *meter) completed()         { m.add(1, 0, 0) }

func (m *meter) add(paths int, bytes, sent int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Paths += paths
	m.now.Bytes += bytes
	m.now.Sent += sent
	if m.report != nil && time.Since(m.shown) >= showEvery {
		m.shown = time.Now()
		m.report(m.now)
	}
}

// flush reports the end.
func (m *meter) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.report != nil {
		m.report(m.now)
	}
}
