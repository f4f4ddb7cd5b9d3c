package regular

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// A process holds a lock while it writes small files. Other users can lock what they can read, so there is a limit. It
// does not depend on a context: a run that has ended notes what it leaves.
const (
	lockLimit = 10 * time.Second
	lockPause = 20 * time.Millisecond
)

// ErrLocked says that another process holds a lock for longer than is to be expected.
var ErrLocked = fmt.Errorf("another process has locked it for %s", lockLimit)

// Lock locks the directory for this process alone, until unlock is called. It waits for others, with a limit.
func (d *Dir) Lock() (unlock func(), err error) {
	f, err := d.OpenItself()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", d.Name(), err)
	}
	if err := Lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", d.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which unlocks it
}

// Lock locks an open file or directory for this process alone. It waits for others, with a limit. Closing f unlocks it.
func Lock(f *os.File) error {
	for waited := time.Duration(0); ; waited += lockPause {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if waited >= lockLimit {
			return ErrLocked
		}
		time.Sleep(lockPause)
	}
}
