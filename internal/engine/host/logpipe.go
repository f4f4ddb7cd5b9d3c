package host

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// logPipe hands on what a process writes to it, in large pieces.
//
// Nix writes a build's log line by line. Whom a poller wakes up for each line (as os/exec does: a pipe wakes those who
// wait for it edge-triggered at every write) spends more time on that than on reading. With a log of 200 MB it was measured
// at four seconds of processor time here and two in Nix, which the builders lack. So nobody waits for this pipe;
// it is looked into now and then.
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
	// The pauses between two looks, while something is written and when nothing is: a person does not see them.
	shortPause = 2 * time.Millisecond
	longPause  = 50 * time.Millisecond
)

// newLogPipe returns a pipe, and hands on what comes out of it until close is called.
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

// close is for when the process has ended. It returns when all that was written is handed on, or, where
// a process is left that holds the pipe open, some time later.
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
			return // the end of it, or an error that there is nobody to tell of
		}
		select {
		case <-ended:
			ended, deadline = nil, time.Now().Add(graceful)
		case <-time.After(pause):
		}
	}
}
