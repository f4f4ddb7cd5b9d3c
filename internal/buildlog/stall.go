package buildlog

import (
	"context"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func (l *Log) showFetched() {
	now := l.Now()
	if now.Sub(l.shown) < run.ProgressInterval {
		return
	}
	l.shown = now
	var sum int64
	for _, n := range l.bytes {
		sum += n
	}
	l.Event(run.Fetched{System: l.System, Bytes: sum, Paths: len(l.fetched)})
}

// watch reports builds that say nothing for the duration, until the function it returns is called.
func (l *Log) watch(ctx context.Context, stall time.Duration) (stop func()) {
	if stall <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(stall/4, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.reportStalls(stall)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (l *Log) reportStalls(stall time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	for _, b := range l.undecided() {
		if b.closed == 0 && now.Sub(b.heard) >= stall && b.stalledAt != b.heard {
			b.stalledAt = b.heard
			l.Event(run.BuildStalled{
				System: l.System, Derivation: b.drv, Silent: run.Seconds(now.Sub(b.heard)), Tail: slices.Clone(b.log.tail),
			})
		}
	}
}
