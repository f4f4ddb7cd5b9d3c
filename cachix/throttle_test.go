package cachix

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var busy = &StatusError{Status: http.StatusServiceUnavailable}

// mustAcquire fails where it would have to wait.
func mustAcquire(t *testing.T, th *throttle, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range n {
		th.mu.Lock()
		free := th.open < int(th.limit)
		th.mu.Unlock()
		if !free {
			t.Fatal("no request may begin")
		}
		if err := th.acquire(context.WithoutCancel(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

// The limit grows by one for each limit's worth of successes, up to the ceiling.
func TestThrottleGrows(t *testing.T) {
	th := newThrottle(40, time.Minute)
	for range throttleStart + 1 {
		mustAcquire(t, th, 1)
		th.release(nil)
	}
	if th.limit < throttleStart+1 || th.limit > throttleStart+1.2 {
		t.Errorf("limit %.2f", th.limit)
	}
	for range 1000 {
		mustAcquire(t, th, 1)
		th.release(nil)
	}
	if th.limit != 40 {
		t.Errorf("limit %.2f, want the ceiling", th.limit)
	}
}

// A crowd of refusals is one piece of news: those that were open together shrink the limit once.
func TestThrottleShrinks(t *testing.T) {
	th := newThrottle(throttleStart, time.Minute)
	mustAcquire(t, th, 20)
	for range 20 {
		th.release(busy)
	}
	if want := throttleStart * throttleCut; math.Abs(th.limit-want) > 0.01 {
		t.Errorf("limit %.2f, want %.2f", th.limit, want)
	}
	mustAcquire(t, th, 1)
	th.release(busy) // sent since, and so news
	if want := throttleStart * throttleCut * throttleCut; math.Abs(th.limit-want) > 0.01 {
		t.Errorf("limit %.2f, want %.2f", th.limit, want)
	}
	for range 100 {
		mustAcquire(t, th, 1)
		th.release(busy)
	}
	if th.limit != 1 {
		t.Errorf("limit %.2f, want one request at least", th.limit)
	}
	// Other failures say nothing about how much the server bears.
	mustAcquire(t, th, 1)
	th.release(&StatusError{Status: 500})
	if th.limit != 1 {
		t.Errorf("limit %.2f", th.limit)
	}
}

// While the server asks for peace nobody begins, and then those who wait.
func TestThrottleHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(4, time.Minute)
		mustAcquire(t, th, 1)
		th.release(&StatusError{Status: http.StatusTooManyRequests, wait: 10 * time.Second})
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

// No server makes the client wait for longer than it has patience.
func TestThrottleHoldsForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(4, time.Minute)
		mustAcquire(t, th, 1)
		th.release(&StatusError{Status: http.StatusTooManyRequests, wait: time.Hour})
		start := time.Now()
		if err := th.acquire(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("waited %s, error %v", time.Since(start), err)
		}
	})
}

// Who gives up passes on a turn that has just come, and is not in the way of others.
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
		if th.open != 0 || len(th.waiting) != 0 {
			t.Errorf("%d open, %d waiting", th.open, len(th.waiting))
		}
		if err := th.acquire(ctx); !errors.Is(err, why) || th.open != 0 {
			t.Errorf("error %v, %d open", err, th.open)
		}
	})
}
