package report

import (
	"sync"
	"time"
)

// loop calls a function at each tick, until it ends.
type loop struct {
	once       sync.Once
	stop, done chan struct{}
}

func startLoop(tick <-chan time.Time, f func()) *loop {
	l := &loop{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for {
			select {
			case <-tick:
				f()
			case <-l.stop:
				return
			}
		}
	}()
	return l
}

// end ends the loop and then calls last. Further calls wait for the first one, and do nothing.
func (l *loop) end(last func()) {
	l.once.Do(func() {
		close(l.stop)
		<-l.done
		last()
	})
}
