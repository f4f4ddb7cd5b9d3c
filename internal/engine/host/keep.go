package host

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// keeper is a process of Nix that holds temporary roots, whose closures a garbage collector keeps. The roots end with the
// process.
//
// The process is nix-daemon --stdio. It serves a local store itself, or connects to the daemon. A symbolic link as a root
// needs a path that exists, and a collector may run before there is a link. A temporary root needs no such path.
type keeper struct {
	mu   sync.Mutex // one request at a time
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	tail *child.Tail
	kept map[nix.StorePath]bool
}

// Numbers of Nix's worker protocol: src/libstore/worker-protocol.hh of Nix.
const (
	workerMagic1    = 0x6e697863
	workerMagic2    = 0x6478696f
	workerVersion   = 1<<8 | 21 // which all versions since 2.0 support
	workerTempRoot  = 11
	workerLogLine   = 0x6f6c6d67
	workerLogEnd    = 0x616c7473
	workerError     = 0x63787470
	workerMaxString = 1 << 20
)

// Keep holds paths as temporary roots until Close.
func (x *Executor) Keep(ctx context.Context, paths []nix.StorePath) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x.keeper.mu.Lock()
	defer x.keeper.mu.Unlock()
	if x.keeper.cmd == nil {
		if err := x.keeper.start(x); err != nil {
			return fmt.Errorf("keep store paths: %w", err)
		}
	}
	// Nix answers when a running collector has registered the root.
	process := x.keeper.cmd.Process
	stop := context.AfterFunc(ctx, func() { _ = process.Kill() })
	defer stop()
	for _, path := range paths {
		if x.keeper.kept[path] {
			continue
		}
		if err := x.keeper.hold(path); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("keep %s: %w", path, err)
		}
		x.keeper.kept[path] = true
	}
	return nil
}

func (k *keeper) start(x *Executor) error {
	cmd := exec.Command("nix-daemon", "--stdio") // it runs until Close, so it has no context
	cmd.Env = append(append([]string{}, x.Env...), "NIX_CONFIG="+x.Settings.Config())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C on the terminal must not end it before the rest
	k.tail = &child.Tail{Limit: 4 << 10}
	cmd.Stderr = k.tail
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.cmd, k.in, k.out, k.kept = cmd, in, bufio.NewReader(out), map[nix.StorePath]bool{}
	return k.greet()
}

// greet opens the conversation.
func (k *keeper) greet() error {
	if err := k.send(workerMagic1); err != nil {
		return k.died(err)
	}
	magic, err := k.number()
	if err == nil && magic != workerMagic2 {
		err = fmt.Errorf("it answers with %#x", magic)
	}
	if err == nil {
		_, err = k.number() // its version, which is newer than ours
	}
	if err == nil {
		err = k.send(workerVersion, 0, 0) // no processor affinity, no reserved space
	}
	if err != nil {
		return k.died(err)
	}
	return k.await()
}

func (k *keeper) hold(path nix.StorePath) error {
	message := binary.LittleEndian.AppendUint64(nil, workerTempRoot)
	message = binary.LittleEndian.AppendUint64(message, uint64(len(path)))
	message = append(message, path...)
	for len(message)%8 != 0 {
		message = append(message, 0)
	}
	if _, err := k.in.Write(message); err != nil {
		return k.died(err)
	}
	if err := k.await(); err != nil {
		return err
	}
	_, err := k.number() // 1
	return k.died(err)
}

// await reads messages until Nix has finished the request.
func (k *keeper) await() error {
	for {
		word, err := k.number()
		if err != nil {
			return k.died(err)
		}
		switch word {
		case workerLogEnd:
			return nil
		case workerLogLine, workerError:
			text, err := k.text()
			if err != nil {
				return k.died(err)
			}
			if word == workerError {
				return errors.New(nix.FirstLine(nix.PlainText(text)))
			}
		default:
			return fmt.Errorf("nix-daemon --stdio says %#x", word)
		}
	}
}

func (k *keeper) send(numbers ...uint64) error {
	return binary.Write(k.in, binary.LittleEndian, numbers)
}

func (k *keeper) number() (n uint64, err error) {
	err = binary.Read(k.out, binary.LittleEndian, &n)
	return n, err
}

func (k *keeper) text() (string, error) {
	n, err := k.number()
	if err == nil && n > workerMaxString {
		err = fmt.Errorf("it sends a text of %d bytes", n)
	}
	if err != nil {
		return "", err
	}
	b := make([]byte, (n+7)/8*8)
	_, err = io.ReadFull(k.out, b)
	return string(b[:n]), err
}

// died returns the error for a failed request, with the last error message of Nix. It ends the process, because only then
// its standard error is complete.
func (k *keeper) died(err error) error {
	if err == nil {
		return nil
	}
	k.end()
	if message := nix.FirstLine(nix.ErrorMessage(k.tail.String())); message != "" {
		return errors.New(message)
	}
	return fmt.Errorf("nix-daemon --stdio: %w", err)
}

// end ends the process, which holds nothing but roots.
func (k *keeper) end() {
	if k.cmd == nil {
		return
	}
	k.in.Close()
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait() // it was killed
	k.cmd = nil
}

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end()
}
