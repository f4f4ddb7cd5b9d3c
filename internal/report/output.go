package report

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// Output is the one writer to standard output or standard error. It cleans everything that is written to it; see
// [printable.Log]. Escape sequences and workflow commands come from the reporters of this package alone, which have a way
// of their own.
//
// Lines are written when they are complete, so that no escape sequence or command gets through in parts.
type Output struct {
	mu   sync.Mutex
	w    io.Writer
	held []byte // of a line that is not complete
}

// maxHeld is the longest line. A longer one becomes several.
const maxHeld = 1 << 20

// NewOutput returns an output that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// outputOf returns the output that w is, or a new one.
func outputOf(w io.Writer) *Output {
	if o, ok := w.(*Output); ok {
		return o
	}
	return NewOutput(w)
}

// Write writes text of others.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = append(o.held, p...)
	for len(o.held) > maxHeld && bytes.IndexByte(o.held[:maxHeld], '\n') < 0 {
		if err := o.take(maxHeld, "\n"); err != nil {
			return 0, err
		}
	}
	if err := o.take(bytes.LastIndexByte(o.held, '\n')+1, ""); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes the line that is not complete.
func (o *Output) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.take(len(o.held), "")
}

// show writes text as it is.
func (o *Output) show(text shown) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.take(len(o.held), "\n"); err != nil {
		return err
	}
	_, err := io.WriteString(o.w, string(text))
	return err
}

// take writes the first n bytes of what is held, cleaned, and an end behind them.
func (o *Output) take(n int, end string) error {
	if n == 0 {
		return nil
	}
	text := printable.Log(string(o.held[:n])) + end
	o.held = append(o.held[:0], o.held[n:]...)
	_, err := io.WriteString(o.w, text)
	return err
}

// Fd is the descriptor of the file behind it, by which a terminal is recognised; no valid one where there is none.
func (o *Output) Fd() uintptr {
	if f, ok := o.w.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// WriteJSON writes a value as a document of JSON with indentation.
func WriteJSON(w io.Writer, value any) error {
	text, err := document(value, "  ")
	if err == nil {
		err = outputOf(w).show(text)
	}
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
