package cachix

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// throttle limits the number of open requests to the capacity of the server, as TCP does for a link (additive increase,
// multiplicative decrease): after as many successes as the limit, the limit grows by one; when the server reports that it
// is overloaded (429, 503), the limit shrinks to 0.7 of itself. If the server says how long to wait, no request is sent
// until then.
type throttle struct {
	maxHold time.Duration // maximum time that a server may stop all requests

	mu      sync.Mutex
	changed sync.Cond // signals waiting requests, the oldest first
	limit   float64
	ceiling float64
	open    int
	stale   int       // open requests that were sent before the limit was last cut: their errors do not cut it again
	until   time.Time // no request is sent before
}

const (
	// throttleStart is the first limit. Cachix's own client has the same number of open requests.
	throttleStart = 32
	throttleCut   = 0.7
)

func newThrottle(ceiling int, longest time.Duration) *throttle {
	t := &throttle{limit: min(throttleStart, float64(ceiling)), ceiling: float64(ceiling), maxHold: longest}
	t.changed.L = &t.mu
	return t
}

// acquire waits until a request may be sent. If it succeeds, release must be called.
func (t *throttle) acquire(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changed.Broadcast()
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for ctx.Err() == nil && (t.open >= int(t.limit) || time.Now().Before(t.until)) {
		t.changed.Wait()
	}
	if ctx.Err() != nil {
		t.admit() // the signal may have been for another request
		return context.Cause(ctx)
	}
	t.open++
	return nil
}

// release ends a request, and adapts the limit to its result.
func (t *throttle) release(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	isNew := t.stale == 0
	t.stale = max(0, t.stale-1)
	var status *StatusError
	switch {
	case err == nil:
		t.limit = min(t.ceiling, t.limit+1/t.limit)
	case errors.As(err, &status) && (status.Status == http.StatusTooManyRequests || status.Status == http.StatusServiceUnavailable):
		if isNew {
			t.limit = max(1, t.limit*throttleCut)
			t.stale = t.open
		}
		t.hold(min(status.retryAfter, t.maxHold))
	}
	t.admit()
}

// hold stops all requests for a time.
func (t *throttle) hold(wait time.Duration) {
	if until := time.Now().Add(wait); wait > 0 && until.After(t.until) {
		t.until = until
		time.AfterFunc(wait, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.admit()
		})
	}
}

// admit signals as many waiting requests as may begin.
func (t *throttle) admit() {
	for range int(t.limit) - t.open {
		t.changed.Signal()
	}
}
