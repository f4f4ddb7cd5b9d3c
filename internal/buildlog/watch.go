package buildlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// minFree is the free space in bytes below which a file system counts as full.
const minFree = 1 << 20

// fullDisk is the last time at which a file system was full.
type fullDisk struct {
	at    time.Time
	where string
}

// measure measures the free space while Nix builds, until the caller calls stop. When Nix reports the failure, the space
// that the builder filled is free again.
func (l *Log) measure(ctx context.Context, x engine.Executor) (stop func()) {
	meter, ok := x.(engine.ResourceMeter)
	l.meter = meter
	l.oomKillsBefore = l.oomKills()
	if !ok {
		return func() {}
	}
	return every(ctx, func() time.Duration {
		r := meter.Resources()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.recordFullDisk(r)
		return nextMeasurement(r)
	})
}

// nextMeasurement is short enough to notice a full file system at a write rate of some GiB per second.
func nextMeasurement(r engine.Resources) time.Duration {
	free := max(0, min(r.StoreFree, r.BuildFree))
	return min(max(time.Duration(free>>20)*time.Millisecond/4, 5*time.Millisecond), time.Second)
}

func (l *Log) recordFullDisk(r engine.Resources) {
	switch {
	case r.StoreFree >= 0 && r.StoreFree < minFree:
		l.full = fullDisk{at: l.Now(), where: "store"}
	case r.BuildFree >= 0 && r.BuildFree < minFree:
		l.full = fullDisk{at: l.Now(), where: "build directory"}
	}
}

// oomKills returns how many processes the kernel killed because memory ran out; -1 if unknown.
func (l *Log) oomKills() int64 {
	if l.meter == nil {
		return -1
	}
	return l.meter.Resources().OOMKills
}

// explainNixError sets the kind of a command's error by the measurements: Nix or its daemon may have been killed because
// memory ran out.
func (l *Log) explainNixError(f *run.Failure) {
	if f.Kind != run.Killed && f.Kind != run.EngineLost || l.oomKillsBefore < 0 {
		return
	}
	if l.oomKills() > l.oomKillsBefore {
		f.Kind = run.OutOfMemory
		f.Remark = "the kernel killed a process because memory ran out while Nix ran"
	}
}

// explainByMeasurements sets the kind of a builder's failure by the measurements during the build. Words in its log are only
// a remark, because tests print such words on purpose.
func (l *Log) explainByMeasurements(b *build, f *run.Failure) {
	if f.Kind != run.BuilderFailed && f.Kind != run.Killed {
		return
	}
	here := b.machine == "" && l.meter != nil // the measurements are of this machine
	var killed int64
	if here {
		r := l.meter.Resources()
		l.recordFullDisk(r)
		if b.oomKillsBefore >= 0 && r.OOMKills >= 0 {
			killed = r.OOMKills - b.oomKillsBefore
		}
	}
	switch {
	case here && !l.full.at.IsZero() && !l.full.at.Before(b.started):
		f.Kind = run.DiskFull
		f.Remark = fmt.Sprintf("the file system of the %s was full during the build", l.full.where)
	case killed > 0 && f.Kind == run.Killed:
		f.Kind = run.OutOfMemory
		f.Remark = "the kernel killed a process because memory ran out during the build"
	case killed > 0:
		f.Remark = "the kernel killed " + run.Count(int(killed), "process") + " because memory ran out during the build"
	default:
		f.Remark = remarkOf(b.log.tail)
	}
}

// remarkOf returns a remark about words in a log that may be about the machine.
func remarkOf(tail []string) string {
	for _, phrase := range []string{"No space left on device", "Cannot allocate memory", "signal: 9, SIGKILL"} {
		for _, line := range tail {
			if strings.Contains(line, phrase) {
				return fmt.Sprintf("its log has the words %q", phrase)
			}
		}
	}
	return ""
}

func (l *Log) reportFetched() {
	if !l.reported.Allow(l.Now()) {
		return
	}
	var sum int64
	for _, n := range l.bytes {
		sum += n
	}
	l.Event(run.Fetched{System: l.System, Bytes: sum, Paths: len(l.fetched)})
}

// every calls f, and again after each pause that f returns, until the caller calls stop.
func every(ctx context.Context, f func() (pause time.Duration)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-time.After(f()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// watch reports builds that are silent for the given duration, until the caller calls stop.
func (l *Log) watch(ctx context.Context, stall time.Duration) (stop func()) {
	if stall <= 0 {
		return func() {}
	}
	return every(ctx, func() time.Duration {
		l.reportStalls(stall)
		return max(stall/4, time.Millisecond)
	})
}

func (l *Log) reportStalls(stall time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	for _, b := range l.undecidedBuilds() {
		if b.closeSeq == 0 && now.Sub(b.lastHeard) >= stall && b.stalledAt != b.lastHeard {
			b.stalledAt = b.lastHeard
			l.Event(run.BuildStalled{
				System: l.System, Derivation: b.drv, Silent: run.Seconds(now.Sub(b.lastHeard)), Tail: slices.Clone(b.log.tail),
			})
		}
	}
}
