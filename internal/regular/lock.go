package regular

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A process holds a lock while it writes small files. Other users can lock what they can read, so there is a limit. It
// does not depend on a context: a run that has ended still records what it has left.
const (
	lockLimit = 10 * time.Second
	lockPause = 20 * time.Millisecond
)

// ErrLocked means that another process holds a lock for too long.
var ErrLocked = fmt.Errorf("another process has locked it for %s", lockLimit)

// Lock locks the directory for this process alone, until unlock is called. It waits for other processes, with a limit.
func (d *Dir) Lock() (unlock func(), err error) {
	f, err := d.OpenItself()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", d.Name(), err)
	}
	for waited := time.Duration(0); ; waited += lockPause {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // which unlocks it
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && waited >= lockLimit {
			err = ErrLocked
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", d.Name(), err), f.Close())
		}
		time.Sleep(lockPause)
	}
}
