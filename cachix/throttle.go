package cachix

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// throttle limits how many requests are open at a time, to what the server bears: the limit grows by one for each
// limit's worth of successes, and shrinks to 0.7 of itself when the server says that it is too much (429, 503).
// This is how TCP shares a link. Where the server says for how long, nothing is sent until then.
// Who waits is served in order.
type throttle struct {
	longest time.Duration // that a server may have all requests wait

	mu      sync.Mutex
	limit   float64
	ceiling float64
	open    int
	shrunk  int       // requests that were open when the limit was last cut, and so say nothing new
	until   time.Time // nothing is sent before
	waiting []chan struct{}
}

const (
	// throttleStart is the limit before anything is known of the server: what Cachix's own client may have open.
	throttleStart = 32
	throttleCut   = 0.7
)

func newThrottle(ceiling int, longest time.Duration) *throttle {
	return &throttle{limit: min(throttleStart, float64(ceiling)), ceiling: float64(ceiling), longest: longest}
}

// acquire waits until a request may be sent. Each success is followed by a release.
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

// giveUp takes a waiter out of the queue, or passes its turn on where it has just come.
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

// release ends a request, and learns from how it went.
func (t *throttle) release(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	isNews := t.shrunk == 0
	t.shrunk = max(0, t.shrunk-1)
	var status *StatusError
	switch {
	case err == nil:
		t.limit = min(t.ceiling, t.limit+1/t.limit)
	case errors.As(err, &status) && (status.Status == http.StatusTooManyRequests || status.Status == http.StatusServiceUnavailable):
		if isNews {
			t.limit = max(1, t.limit*throttleCut)
			t.shrunk = t.open
		}
		t.hold(min(status.wait, t.longest))
	}
	t.admit()
}

// hold lets no request begin for a while.
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

// admit lets those begin who wait, as far as they may.
func (t *throttle) admit() {
	for len(t.waiting) > 0 && t.open < int(t.limit) && !time.Now().Before(t.until) {
		close(t.waiting[0])
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
		t.open++
	}
}
