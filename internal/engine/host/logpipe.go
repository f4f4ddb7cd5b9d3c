package host

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// logPipe copies the output of a process to a writer, in large pieces.
//
// Nix writes a build log line by line. A reader that a poller wakes up for each line, as that of os/exec, spends more time
// on waking up than on reading: for a log of 200 MB, four seconds of processor time here and two in Nix, which builders
// then lack. So this pipe is read at intervals.
type logPipe struct {
	in    *os.File // for the process
	out   int
	w     io.Writer
	ended chan struct{} // closed when the process has ended
	done  chan struct{} // closed when nothing more will be handed on
}

const (
	pipeSize = 1 << 20 // what any user may ask for; the default of 64 KiB is full within two milliseconds
	readSize = 64 << 10
	// The intervals while the process writes, and while it does not. They are too short to notice.
	shortPause = 2 * time.Millisecond
	longPause  = 50 * time.Millisecond
)

// newLogPipe returns a pipe and copies from it until close is called.
func newLogPipe(w io.Writer) (*logPipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // without it, a fast build waits a little
	p := &logPipe{in: os.NewFile(uintptr(fds[1]), "|1"), out: fds[0], w: w, ended: make(chan struct{}), done: make(chan struct{})}
	if err := unix.SetNonblock(p.out, true); err != nil {
		p.in.Close()
		unix.Close(p.out)
		return nil, os.NewSyscallError("fcntl", err)
	}
	go p.follow()
	return p, nil
}

// close is called when the process has ended. It returns when all output is copied, or after some time if another process
// keeps the pipe open.
func (p *logPipe) close() {
	p.in.Close()
	close(p.ended)
	<-p.done
	unix.Close(p.out)
}

func (p *logPipe) follow() {
	defer close(p.done)
	buf := make([]byte, readSize)
	ended := p.ended
	var deadline time.Time
	for pause := shortPause; ; {
		n, err := unix.Read(p.out, buf)
		switch {
		case n > 0:
			pause = shortPause
			if _, err := p.w.Write(buf[:n]); err != nil {
				return
			}
			if n == len(buf) || ended == nil {
				continue // there is more
			}
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if ended == nil && time.Now().After(deadline) {
				return
			}
			pause = min(2*pause, longPause)
		default:
			return // the end, or an error that nothing can report
		}
		select {
		case <-ended:
			ended, deadline = nil, time.Now().Add(graceful)
		case <-time.After(pause):
		}
	}
}
