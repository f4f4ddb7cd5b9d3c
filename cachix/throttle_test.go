package cachix

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var busy = &StatusError{Status: http.StatusServiceUnavailable}

// mustAcquire fails if a request has to wait.
func mustAcquire(t *testing.T, th *throttle, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for range n {
		if err := th.acquire(ctx); err != nil {
			t.Fatalf("no request may begin: %v", err)
		}
	}
}

// limit counts the requests that may be open at the same time. None may be open before. It runs in a bubble of synctest.
func limit(t *testing.T, th *throttle) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for th.acquire(ctx) == nil {
		n++
	}
	for range n {
		th.release(context.Canceled) // not an error of the server
	}
	return n
}

// After as many successes as the limit, the limit grows by one, up to the ceiling.
func TestThrottleGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(40, time.Minute)
		for range throttleStart + 1 {
			mustAcquire(t, th, 1)
			th.release(nil)
		}
		if n := limit(t, th); n != throttleStart+1 {
			t.Errorf("limit %d", n)
		}
		for range 1000 {
			mustAcquire(t, th, 1)
			th.release(nil)
		}
		if n := limit(t, th); n != 40 {
			t.Errorf("limit %d, want the ceiling", n)
		}
	})
}

// Refusals of requests that were open together shrink the limit once.
func TestThrottleShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(throttleStart, time.Minute)
		mustAcquire(t, th, 20)
		for range 20 {
			th.release(busy)
		}
		if n, want := limit(t, th), 22; n != want { // 32 × 0.7
			t.Errorf("limit %d, want %d", n, want)
		}
		mustAcquire(t, th, 1)
		th.release(busy)                            // sent after the first cut
		if n, want := limit(t, th), 15; n != want { // 32 × 0.7 × 0.7
			t.Errorf("limit %d, want %d", n, want)
		}
		for range 100 {
			mustAcquire(t, th, 1)
			th.release(busy)
		}
		if n := limit(t, th); n != 1 {
			t.Errorf("limit %d, want one request at least", n)
		}
		// Other errors do not mean that the server is overloaded.
		mustAcquire(t, th, 1)
		th.release(&StatusError{Status: 500})
		if n := limit(t, th); n != 1 {
			t.Errorf("limit %d", n)
		}
	})
}

// While the server asks its clients to wait, no request begins. After it, the waiting requests begin.
func TestThrottleStopsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(4, time.Minute)
		mustAcquire(t, th, 1)
		th.release(&StatusError{Status: http.StatusTooManyRequests, retryAfter: 10 * time.Second})
		start := time.Now()
		var begun atomic.Int32
		for range 3 {
			go func() {
				_ = th.acquire(t.Context())
				begun.Add(1)
				th.release(nil)
			}()
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := begun.Load(); n > 0 {
			t.Errorf("%d began after %s", n, time.Since(start))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := begun.Load(); n != 3 {
			t.Errorf("%d have begun, want all", n)
		}
	})
}

// No server makes the client wait for longer than its limit.
func TestThrottleStopsRequestsForAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(4, time.Minute)
		mustAcquire(t, th, 1)
		th.release(&StatusError{Status: http.StatusTooManyRequests, retryAfter: time.Hour})
		start := time.Now()
		if err := th.acquire(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("waited %s, error %v", time.Since(start), err)
		}
	})
}

// A request that is cancelled passes its turn on, and does not delay others.
func TestThrottleGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(1, time.Minute)
		mustAcquire(t, th, 1)
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		first := make(chan error, 1)
		go func() { first <- th.acquire(ctx) }()
		synctest.Wait()
		second := make(chan error, 1)
		go func() { second <- th.acquire(t.Context()) }()
		synctest.Wait()
		cancel(why)
		synctest.Wait()
		if err := <-first; !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		th.release(nil)
		synctest.Wait()
		if err := <-second; err != nil {
			t.Error(err)
		}
		th.release(nil)
		if err := th.acquire(ctx); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		if n := limit(t, th); n != 1 {
			t.Errorf("limit %d", n)
		}
	})
}
