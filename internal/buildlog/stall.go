package buildlog

import (
	"context"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func (l *Log) reportFetched() {
	if !l.reported.Allow(l.Now()) {
		return
	}
	var sum int64
	for _, n := range l.bytes {
		sum += n
	}
	l.Event(run.Fetched{System: l.System, Bytes: sum, Paths: len(l.fetched)})
}

// watch reports builds that are silent for the given duration, until the caller calls stop.
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
	for _, b := range l.undecidedBuilds() {
		if b.closeSeq == 0 && now.Sub(b.lastHeard) >= stall && b.stalledAt != b.lastHeard {
			b.stalledAt = b.lastHeard
			l.Event(run.BuildStalled{
				System: l.System, Derivation: b.drv, Silent: run.Seconds(now.Sub(b.lastHeard)), Tail: slices.Clone(b.log.tail),
			})
		}
	}
}
