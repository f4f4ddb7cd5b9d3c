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
