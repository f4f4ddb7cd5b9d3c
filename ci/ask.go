package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// canAsk reports whether a user at a terminal sees a question and can answer it.
func (p process) canAsk() bool { return p.stdin != nil && isTerminal(p.stdin) && isTerminal(p.stderr) }

// ask asks a question until accept takes the answer, which is one line without surrounding space.
func (p process) ask(ctx context.Context, question string, accept func(answer string) error) error {
	for {
		fmt.Fprint(p.stderr, question+" ")
		if o, ok := p.stderr.(*report.Output); ok { // it holds incomplete lines
			_ = o.Flush() // execute reads its error
		}
		answer, err := readAnswer(ctx, p.stdin)
		if err != nil {
			fmt.Fprintln(p.stderr)
			return fmt.Errorf("read answer: %w", err)
		}
		if err = accept(answer); err == nil {
			return nil
		}
		fmt.Fprintf(p.stderr, "%v\n", err)
	}
}

// discardTyped discards what was typed before a question that has to be read first.
func (p process) discardTyped() { _ = unix.IoctlSetInt(int(p.stdin.Fd()), unix.TCFLSH, unix.TCIFLUSH) }

// askYes asks a question that "no" answers with false, and an empty line with true.
func (p process) askYes(ctx context.Context, question string) (yes bool, err error) {
	err = p.ask(ctx, question+" [Y/n]", func(answer string) error {
		switch strings.ToLower(answer) {
		case "", "y", "yes":
			yes = true
		case "n", "no":
		default:
			return errors.New("answer y or n")
		}
		return nil
	})
	return yes, err
}

// maxAnswer is the maximum length of a terminal's line.
const maxAnswer = 4096

// readAnswer reads a line from a terminal. The end of the context ends the wait.
func readAnswer(ctx context.Context, terminal *os.File) (string, error) {
	done, end, err := os.Pipe()
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { end.Close() })
	defer func() {
		if stop() {
			end.Close()
		}
		done.Close()
	}()
	fds := []unix.PollFd{{Fd: int32(terminal.Fd()), Events: unix.POLLIN}, {Fd: int32(done.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return "", err
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if fds[0].Revents != 0 {
			break
		}
	}
	line := make([]byte, maxAnswer)
	n, err := terminal.Read(line) // a terminal gives one line
	if n == 0 {
		return "", errors.Join(err, io.ErrUnexpectedEOF)
	}
	return strings.TrimSpace(string(line[:n])), nil
}
