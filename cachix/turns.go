package cachix

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// turns lets some objects have their NARs read at a time. Of those that wait, the first of the plan is next:
// else a large one, whose upload took long to begin, would be read after all small ones, and alone.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []*turn
}

type turn struct {
	rank int // place in the plan
	came chan struct{}
}

// take waits for a turn. Each success is followed by a give.
func (t *turns) take(ctx context.Context, rank int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	mine := &turn{rank, make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, mine)
	t.next()
	t.mu.Unlock()
	select {
	case <-mine.came:
		return nil
	case <-ctx.Done():
		t.giveUp(mine)
		return context.Cause(ctx)
	}
}

// give ends a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	t.next()
}

// giveUp ends the wait for a turn, or the turn where it has just come.
func (t *turns) giveUp(mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, mine); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		return
	}
	t.free++
	t.next()
}

// next gives turns while there are any. Those that wait are few: [pushWorkers] at most.
func (t *turns) next() {
	for t.free > 0 && len(t.waiting) > 0 {
		first := slices.MinFunc(t.waiting, func(a, b *turn) int { return cmp.Compare(a.rank, b.rank) })
		i := slices.Index(t.waiting, first)
		t.waiting = slices.Delete(t.waiting, i, i+1)
		t.free--
		close(first.came)
	}
}
