package cachix

import (
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// meter counts the progress of a push, and reports it at intervals.
type meter struct {
	report func(run.PushProgress)

	mu       sync.Mutex
	now      run.PushProgress
	throttle run.Throttle
}

func (m *meter) addRead(bytes int64) { m.add(0, bytes, 0) }
func (m *meter) addSent(bytes int64) { m.add(0, 0, bytes) }
func (m *meter) addCompleted()       { m.add(1, 0, 0) }

func (m *meter) add(paths int, bytes, sent int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Paths += paths
	m.now.Bytes += bytes
	m.now.Sent += sent
	if m.report != nil && m.throttle.Allow(time.Now()) {
		m.report(m.now)
	}
}

// flush reports the final progress.
func (m *meter) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.report != nil {
		m.report(m.now)
	}
}
