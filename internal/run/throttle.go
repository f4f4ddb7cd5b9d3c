package run

import "time"

// progressInterval is the shortest time between two reports of the same progress.
const progressInterval = 200 * time.Millisecond

// Throttle limits how often progress is reported. The zero value allows the first report at once.
// It is not safe for concurrent use.
type Throttle struct{ last time.Time }

// Allow returns whether progress may be reported now.
func (t *Throttle) Allow(now time.Time) bool {
	if now.Sub(t.last) < progressInterval {
		return false
	}
	t.last = now
	return true
}
