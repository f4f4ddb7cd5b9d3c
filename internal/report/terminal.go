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

const frameTime = 100 * time.Millisecond

// The control sequences. Terminals ignore those that they do not support.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseBelow = "\x1b[J"
	// A terminal shows the text between these two at once, without flicker.
	beginFrame = "\x1b[?2026h"
	endFrame   = "\x1b[?2026l"
)

// Terminal reports to a terminal: finished steps and builds scroll by, as in [Lines], above a status of one line per
// system that is redrawn in place.
//
// One goroutine draws. Report does not write, so that a stopped terminal does not stop a build.
type Terminal struct {
	opts  Options
	style style

	mu       sync.Mutex
	progress progress
	scroll   []shown // lines to write above the status

	// These belong to the goroutine that draws, until it has ended.
	out   *Output
	err   error
	drawn []int // the widths of the lines of the status on the screen
	frame shown // the status on the screen

	drawing *loop
}

// NewTerminal returns a reporter that draws on the terminal w until it is closed.
// Close must be called however the run ends: it erases the status and shows the cursor.
func NewTerminal(w io.Writer, opts Options) *Terminal {
	t := &Terminal{
		opts:  opts,
		style: style{color: opts.Color, ascii: opts.ASCII},
		out:   outputOf(w),
	}
	if t.opts.Size == nil {
		t.opts.Size = func() (int, int) { return screenSize(w) }
	}
	t.drawing = startLoop(time.Tick(frameTime), func() {
		columns, rows := t.opts.Size()
		t.draw(t.status(columns, rows), columns)
	})
	return t
}

func (t *Terminal) Report(at time.Time, e run.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress.apply(at, e)
	t.scroll = append(t.scroll, eventLines(e, &t.progress, t.style, t.opts.Verbose, t.style.brief)...)
}

// Close writes the remaining lines, erases the status, and returns the first error in writing, if any.
func (t *Terminal) Close() error {
	t.drawing.end(func() {
		columns, _ := t.opts.Size()
		t.draw(nil, columns)
		if t.err != nil {
			_ = t.out.show(showCursor) // may succeed although an earlier write has failed
		}
	})
	return t.err
}

// status returns the lines of the status, each narrower than the screen: a full line would wrap on some terminals.
func (t *Terminal) status(columns, rows int) []statusLine {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var lines []statusLine
	for _, r := range t.progress.rows {
		if r.system == "" && !r.active() {
			continue // finished steps of the run have scrolled by
		}
		lines = append(lines, t.line(r, now, columns-1))
	}
	if len(lines) == 0 {
		return nil
	}
	// The empty line separates the status from similar lines above.
	return append([]statusLine{{}}, lines[:min(len(lines), max(rows-2, 0))]...)
}

// statusLine is a line with its width in columns, without escape sequences.
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

// fit joins the parts that fit into width, and counts the others.
func fit(parts []string, width int) string {
	line := strings.Join(parts, ", ")
	for n := len(parts) - 1; n > 0 && utf8.RuneCountInString(line) > width; n-- {
		line = fmt.Sprintf("%s +%d", strings.Join(parts[:n], ", "), len(parts)-n)
	}
	return line
}

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

// erase returns the control sequences that erase the status. A terminal that has become narrower has wrapped the lines,
// so there are more of them.
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
