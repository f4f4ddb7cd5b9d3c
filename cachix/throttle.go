package cachix

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// throttle limits how many requests are open at a time, to what the server bears: the limit grows by one for each
// limit's worth of successes, and shrinks to 0.7 of itself when the server says that it is too much (429, 503).
// This is how TCP shares a link. Who waits is served in order.
type throttle struct {
	mu      sync.Mutex
	limit   float64
	ceiling float64
	open    int
	shrunk  int // requests that were open when the limit was last cut, and so say nothing new
	waiting []chan struct{}
}

const (
	// throttleStart is the limit before anything is known of the server: what Cachix's own client may have open.
	throttleStart = 32
	throttleCut   = 0.7
)

func newThrottle(ceiling int) *throttle {
	return &throttle{limit: min(throttleStart, float64(ceiling)), ceiling: float64(ceiling)}
}

// acquire waits until a request may be sent. Each success is followed by a release.
func (t *throttle) acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.mu.Lock()
	if len(t.waiting) == 0 && t.open < int(t.limit) {
		t.open++
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	t.waiting = append(t.waiting, turn)
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
	for i, w := range t.waiting {
		if w == turn {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			return
		}
	}
	t.open--
	t.admit()
}

// release ends a request, and learns from how it went.
func (t *throttle) release(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	if t.shrunk > 0 {
		t.shrunk--
	}
	var status *StatusError
	switch {
	case err == nil:
		t.limit = min(t.ceiling, t.limit+1/t.limit)
	case errors.As(err, &status) && (status.Status == http.StatusTooManyRequests || status.Status == http.StatusServiceUnavailable):
		if t.shrunk == 0 {
			t.limit = max(1, t.limit*throttleCut)
			t.shrunk = t.open
		}
	}
	t.admit()
}

func (t *throttle) admit() {
	for len(t.waiting) > 0 && t.open < int(t.limit) {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
		t.open++
	}
}
