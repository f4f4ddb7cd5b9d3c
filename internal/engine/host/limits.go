package host

import "golang.org/x/sys/unix"

// raiseMemlock raises the limit of locked memory of this process, and so of its children, as far as it may:
// to the hard limit without privileges. The builders of a daemon have the daemon's limit instead.
// It ignores errors: the probe of a run measures the limit of a builder.
func raiseMemlock(want int64) {
	var now unix.Rlimit
	if want <= 0 || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &now) != nil || now.Cur >= uint64(want) {
		return
	}
	wanted := unix.Rlimit{Cur: uint64(want), Max: max(now.Max, uint64(want))}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &wanted) != nil {
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: min(now.Max, uint64(want)), Max: now.Max})
	}
}
