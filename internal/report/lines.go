package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// heartbeat is how long a log may stay silent. Some CI systems end a job that says nothing for ten minutes,
// and a person gives up on it long before.
const heartbeat = 30 * time.Second

// Lines reports to a log: a line for each step and each build that has ended, all that is known of a failure,
// and a heartbeat. What belongs together is written at once, so that concurrent builds never interleave.
type Lines struct {
	opts  Options
	style style
	// show decorates a block for the kind of log at hand.
	show func(block) []shown

	mu       sync.Mutex
	out      *Output
	err      error
	progress progress
	spoke    time.Time // when something was last written

	close      sync.Once
	stop, done chan struct{}
}

// NewLines returns a reporter that writes to w until it is closed.
func NewLines(w io.Writer, opts Options) *Lines {
	l := newLines(w, opts)
	go l.beat()
	return l
}

func newLines(w io.Writer, opts Options) *Lines {
	l := &Lines{
		opts:  opts.withDefaults(w),
		style: style{color: opts.Color, ascii: opts.ASCII},
		out:   outputOf(w),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	l.show = l.brief
	l.spoke = l.opts.Now()
	return l
}

// Report writes what there is to tell of e.
func (l *Lines) Report(at time.Time, e run.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.apply(at, e)
	l.write(tell(e, &l.progress, l.style, l.opts.Verbose, l.show))
}

// Close ends the heartbeat and returns the first error in writing, if any. The writer stays open.
func (l *Lines) Close() error {
	l.close.Do(func() { close(l.stop) })
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// tell returns the lines that e is worth. It is what Lines writes and what scrolls by above Terminal's status.
func tell(e run.Event, p *progress, s style, verbose bool, show func(block) []shown) []shown {
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

// brief leaves out what a block folds.
func (l *Lines) brief(b block) []shown { return l.style.brief(b) }

func (s style) brief(b block) []shown {
	lines := s.render(b)
	if b.folds() {
		return lines[:1]
	}
	return lines
}

func (l *Lines) write(lines []shown) {
	if len(lines) == 0 || l.err != nil {
		return
	}
	l.spoke = l.opts.Now()
	if err := l.out.show(joinLines(lines)); err != nil {
		l.err = fmt.Errorf("write report: %w", err)
	}
}

func (l *Lines) beat() {
	defer close(l.done)
	tick := l.opts.Tick(time.Second)
	for {
		select {
		case <-tick:
			l.sayWhatRuns()
		case <-l.stop:
			return
		}
	}
}

func (l *Lines) sayWhatRuns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	if now.Sub(l.spoke) < heartbeat {
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
