package cachix

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// throttle limits the number of open requests to the capacity of the server, as TCP does for a link (additive increase,
// multiplicative decrease): after as many successes as the limit, the limit grows by one; when the server reports that it
// is overloaded (429, 503), the limit shrinks to 0.7 of itself. If the server says how long to wait, no request is sent
// until then. Waiting requests are sent first come, first served.
type throttle struct {
	maxHold time.Duration // maximum time that a server may stop all requests

	mu      sync.Mutex
	limit   float64
	ceiling float64
	open    int
	stale   int       // open requests that were sent before the limit was last cut: their errors do not cut it again
	until   time.Time // no request is sent before
	waiting []chan struct{}
}

const (
	// throttleStart is the first limit. Cachix's own client has the same number of open requests.
	throttleStart = 32
	throttleCut   = 0.7
)

func newThrottle(ceiling int, longest time.Duration) *throttle {
	return &throttle{limit: min(throttleStart, float64(ceiling)), ceiling: float64(ceiling), maxHold: longest}
}

// acquire waits until a request may be sent. If it succeeds, release must be called.
func (t *throttle) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	turn := make(chan struct{})
	t.mu.Lock()
	t.waiting = append(t.waiting, turn)
	t.admit()
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		t.giveUp(turn)
		return context.Cause(ctx)
	}
}

// giveUp removes a waiting request, or passes its turn on if the request was just admitted.
func (t *throttle) giveUp(turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, turn); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		return
	}
	t.open--
	t.admit()
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

// admit lets waiting requests begin, up to the limit.
func (t *throttle) admit() {
	for len(t.waiting) > 0 && t.open < int(t.limit) && !time.Now().Before(t.until) {
		close(t.waiting[0])
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
		t.open++
	}
}
