package report

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// Output is the only writer to standard output or standard error. It cleans everything that is written to it; see
// [printable.Log]. Only the reporters of this package can write escape sequences and workflow commands, with show.
//
// It writes complete lines, so that no escape sequence or command passes in parts.
type Output struct {
	mu   sync.Mutex
	w    io.Writer
	held []byte // an incomplete line
}

// maxHeld is the longest line. A longer one is split.
const maxHeld = 1 << 20

func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// outputOf returns w if it is an Output, or else a new one.
func outputOf(w io.Writer) *Output {
	if o, ok := w.(*Output); ok {
		return o
	}
	return NewOutput(w)
}

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

func (o *Output) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.take(len(o.held), "")
}

func (o *Output) show(text shown) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.take(len(o.held), "\n"); err != nil {
		return err
	}
	_, err := io.WriteString(o.w, string(text))
	return err
}

// take cleans and writes the first n held bytes, followed by end.
func (o *Output) take(n int, end string) error {
	if n == 0 {
		return nil
	}
	text := printable.Log(string(o.held[:n])) + end
	o.held = append(o.held[:0], o.held[n:]...)
	_, err := io.WriteString(o.w, text)
	return err
}

// Fd returns the descriptor of the underlying file, to recognise a terminal. It is invalid if there is no file.
func (o *Output) Fd() uintptr {
	if f, ok := o.w.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// WriteJSON writes a value as indented JSON.
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
