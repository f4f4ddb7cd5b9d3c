package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// frameTime is the time between two drawings. A faster spinner tells nobody more.
const frameTime = 100 * time.Millisecond

// The control sequences that are needed, all of which terminals without them ignore.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseBelow = "\x1b[J"
	// A terminal shows what is between these two at once, so that nothing flickers.
	beginFrame = "\x1b[?2026h"
	endFrame   = "\x1b[?2026l"
)

// Terminal reports to a person at a terminal: what has ended scrolls by, as in [Lines],
// above a status of one line per cell that is redrawn in place.
//
// One goroutine owns the screen. Report only takes notes, so that a stopped terminal stops no build.
type Terminal struct {
	opts  Options
	style style

	mu       sync.Mutex
	progress progress
	scroll   []shown // what is to be written above the status

	// Of the goroutine that owns the screen, until done is closed.
	out   *Output
	err   error
	drawn []int // the widths of the lines of the status on the screen
	frame shown // the status on the screen

	close      sync.Once
	stop, done chan struct{}
}

// NewTerminal returns a reporter that owns the terminal behind w until it is closed.
// Close must be called however the run ends: it erases the status and gives the cursor back.
func NewTerminal(w io.Writer, opts Options) *Terminal {
	t := &Terminal{
		opts:  opts.withDefaults(w),
		style: style{color: opts.Color, ascii: opts.ASCII},
		out:   outputOf(w),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go t.own()
	return t
}

// Report takes note of e for the next drawing.
func (t *Terminal) Report(at time.Time, e run.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.apply(at, e)
	t.scroll = append(t.scroll, tell(e, &t.progress, t.style, t.opts.Verbose, t.style.brief)...)
}

// Close writes what is left, erases the status, and returns the first error in writing, if any.
func (t *Terminal) Close() error {
	t.close.Do(func() { close(t.stop) })
	<-t.done
	return t.err
}

func (t *Terminal) own() {
	defer close(t.done)
	defer t.leave()
	tick := t.opts.Tick(frameTime)
	for {
		select {
		case <-tick:
			columns, rows := t.opts.Size()
			t.draw(t.status(columns, rows), columns)
		case <-t.stop:
			return
		}
	}
}

// leave hands the screen back. The cursor is worth a try even where writing has failed before.
func (t *Terminal) leave() {
	columns, _ := t.opts.Size()
	t.draw(nil, columns)
	if t.err != nil {
		_ = t.out.show(showCursor)
	}
}

// status returns the lines of the status, each narrower than the screen: a full line would wrap on some terminals.
func (t *Terminal) status(columns, rows int) []statusLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opts.Now()
	var lines []statusLine
	for _, r := range t.progress.rows {
		if r.system == "" && !r.active() {
			continue // the run's own steps are told above, when they have ended
		}
		lines = append(lines, t.line(r, now, columns-1))
	}
	if len(lines) == 0 {
		return nil
	}
	// The empty line sets the status apart from what looks just like it above.
	return append([]statusLine{{}}, lines[:min(len(lines), max(rows-2, 0))]...)
}

// statusLine is a line with its width in columns, which colours do not add to.
type statusLine struct {
	text  shown
	width int
}

const signWidth = 2 // of a mark or spinner and the space behind it

func (t *Terminal) line(r *row, now time.Time, width int) statusLine {
	sign, text := t.style.spinner(now.UnixMilli()/frameTime.Milliseconds()), ""
	switch {
	case r.active():
		head := headline(r.label(), string(r.system), elapsed(now.Sub(r.since).Seconds()), "")
		parts := r.activity(now)
		for i := range parts {
			parts[i] = string(t.style.clean(parts[i]))
		}
		text = fmt.Sprintf("%s  %s", head, fit(parts, width-signWidth-len(head)-2))
	case r.step == "":
		sign, text = t.style.sign(running), headline("waiting", string(r.system), "", "")
	default:
		b := stepBlock(*r.end)
		sign, text = t.style.sign(b.mark), b.head
	}
	line := t.style.truncate(t.style.clean(strings.TrimRight(text, " ")), width-signWidth)
	return statusLine{sign + line, signWidth + utf8.RuneCountInString(string(line))}
}

// fit joins the parts, as many as there is room for, and counts the others.
func fit(parts []string, width int) string {
	line := strings.Join(parts, ", ")
	for n := len(parts) - 1; n > 0 && utf8.RuneCountInString(line) > width; n-- {
		line = fmt.Sprintf("%s +%d", strings.Join(parts[:n], ", "), len(parts)-n)
	}
	return line
}

// draw replaces the status on the screen, and writes above it what has ended since the last time.
func (t *Terminal) draw(status []statusLine, columns int) {
	scroll := t.takeScroll()
	frame := joinStatus(status)
	if scroll == "" && frame == t.frame || t.err != nil {
		return
	}
	text := beginFrame + t.erase(columns) + scroll
	if frame != "" {
		text += hideCursor + frame
	} else if t.frame != "" {
		text += showCursor
	}
	t.frame, t.drawn = frame, t.drawn[:0]
	for _, line := range status {
		t.drawn = append(t.drawn, line.width)
	}
	if err := t.out.show(text + endFrame); err != nil {
		t.err = fmt.Errorf("write to terminal: %w", err)
	}
}

func (t *Terminal) takeScroll() shown {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.scroll) == 0 {
		return ""
	}
	lines := t.scroll
	t.scroll = nil
	return joinLines(lines)
}

// erase returns what takes the status off the screen. A terminal that has become narrower since
// has wrapped the lines, so that there are more of them to go up.
func (t *Terminal) erase(columns int) shown {
	if len(t.drawn) == 0 {
		return ""
	}
	up := -1 // the cursor is on the last line
	for _, width := range t.drawn {
		up += max(1, int(math.Ceil(float64(width)/float64(max(columns, 1)))))
	}
	if up == 0 {
		return "\r" + eraseBelow
	}
	return "\r" + cursorUp(up) + eraseBelow
}

func joinStatus(lines []statusLine) shown {
	var text shown
	for i, line := range lines {
		if i > 0 {
			text += "\n"
		}
		text += line.text
	}
	return text
}
