package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// heartbeatInterval is the longest silence of a log. Some CI systems end a job that prints nothing for ten minutes, and
// readers give up much earlier.
const heartbeatInterval = 30 * time.Second

// Lines reports to a log: a line for each finished step and build, the details of failures, and a heartbeat.
// It writes each block at once, so that the lines of concurrent builds do not mix.
type Lines struct {
	opts  Options
	style style
	// show formats a block for this kind of log.
	show func(block) []shown

	mu       sync.Mutex
	out      *Output
	err      error
	progress progress
	written  time.Time // the time of the last line

	heartbeat *loop
}

// NewLines returns a reporter that writes to w until it is closed.
func NewLines(w io.Writer, opts Options) *Lines {
	l := newLines(w, opts)
	l.start()
	return l
}

func newLines(w io.Writer, opts Options) *Lines {
	l := &Lines{
		opts:  opts,
		style: style{color: opts.Color, ascii: opts.ASCII},
		out:   outputOf(w),
	}
	l.show = l.style.brief
	l.written = time.Now()
	return l
}

func (l *Lines) Report(at time.Time, e run.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.apply(at, e)
	l.write(eventLines(e, &l.progress, l.style, l.opts.Verbose, l.show))
}

// Close ends the heartbeat and returns the first error in writing, if any. The writer stays open.
func (l *Lines) Close() error {
	l.heartbeat.end(func() {})
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// eventLines returns the lines of an event: those that Lines writes, and that scroll above Terminal's status.
func eventLines(e run.Event, p *progress, s style, verbose bool, show func(block) []shown) []shown {
	switch e := e.(type) {
	case run.BuildLine:
		if !verbose {
			return nil
		}
		return show(p.within(e.System, lineBlock(e)))
	case run.Checked:
		var lines []shown
		for _, b := range checkBlocks(e) {
			lines = append(lines, show(b)...)
		}
		return lines
	case run.RunFinished:
		return s.conclusion(&p.view)
	}
	if b, ok := p.blockOf(e); ok {
		return show(b)
	}
	return nil
}

// brief returns only the headline of a collapsible block.
func (s style) brief(b block) []shown {
	lines := s.render(b)
	if b.collapsible() {
		return lines[:1]
	}
	return lines
}

func (l *Lines) write(lines []shown) {
	if len(lines) == 0 || l.err != nil {
		return
	}
	l.written = time.Now()
	if err := l.out.show(joinLines(lines)); err != nil {
		l.err = fmt.Errorf("write report: %w", err)
	}
}

func (l *Lines) start() { l.heartbeat = startLoop(time.Tick(time.Second), l.writeRunning) }

// writeRunning writes the running steps if nothing was written for a while.
func (l *Lines) writeRunning() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.written) < heartbeatInterval {
		return
	}
	var lines []shown
	for _, r := range l.progress.rows {
		if r.active() {
			text := strings.Join(append([]string{"running"}, r.activity(now)...), ", ")
			head := headline(r.label(), string(r.system), elapsed(now.Sub(r.since).Seconds()), text)
			lines = append(lines, l.show(block{mark: running, head: head, system: r.system, step: r.step})...)
		}
	}
	l.write(lines)
}

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
