package buildlog

import (
	"slices"
	"sort"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// counts are what Nix's progress tells of builds without naming them: how many have succeeded, and how many have failed.
//
// Each count is about one build that Nix has begun before it, that says nothing after it, and whose activity is open
// when it comes. (A failure may also be that of a derivation that Nix refuses to build.) Nix closes the activity of a
// dependency right after its count, and that of a package only at the end of all, in any order.
type counts struct {
	counter               uint64 // of the activity that counts; 0 until it is known
	good, bad             int64  // so far
	goodCounts, badCounts []countedEnd
	begun                 []*build // by this process of Nix, but for those whose count is known
	changed               bool     // something may be certain now
	lastClosed            int64    // when Nix has last closed a build
	closedBefore          int64    // what was closed before this was not closed because Nix ends
}

// countedEnd is a count that is about an unknown build.
type countedEnd struct {
	at  time.Time
	seq int64
}

// setCounter notes which activity counts. A remote builder's Nix has one of its own, after ours.
func (l *Log) setCounter(id uint64) {
	if l.counter == 0 {
		l.counter = id
	}
}

// addCounts takes the numbers of builds that have succeeded and failed so far.
func (l *Log) addCounts(good, bad int64) {
	for ; l.good < good; l.good++ {
		l.goodCounts = append(l.goodCounts, countedEnd{at: l.Now(), seq: l.next()})
		l.changed = true
	}
	for ; l.bad < bad; l.bad++ {
		l.badCounts = append(l.badCounts, countedEnd{at: l.Now(), seq: l.next()})
	}
}

// noteProgress notes that Nix begins or continues a build, which has last been heard at spoke: so it was not its own end that
// closeSeq other builds. A log has millions of lines, so little is done for most of them.
func (l *Log) noteProgress(spoke int64) {
	if n := len(l.goodCounts); n > 0 && (spoke < l.goodCounts[n-1].seq || l.closedBefore < l.lastClosed) {
		l.changed = true
	}
	l.closedBefore = l.seq
}

// possible returns those of the counts, in the order of their time, that can be about a build.
func possible(all []countedEnd, b *build) []countedEnd {
	return all[firstPossible(all, b):lastPossible(all, b)]
}

// firstPossible and lastPossible are the bounds of the counts that came after the build was last heard and before Nix
// closeSeq it. The second is never less than the first.
func firstPossible(all []countedEnd, b *build) int {
	return sort.Search(len(all), func(i int) bool { return all[i].seq > b.heardSeq })
}

func lastPossible(all []countedEnd, b *build) int {
	if b.closeSeq == 0 {
		return len(all)
	}
	return max(firstPossible(all, b), sort.Search(len(all), func(i int) bool { return all[i].seq > b.closeSeq }))
}

// decide finds the builds that are certain to be good.
func (l *Log) decide() {
	for l.changed {
		l.changed = l.decideByNumber() || l.decideByClosing()
	}
}

// decideByNumber looks for the first counts that can be about no more builds than there are such counts.
func (l *Log) decideByNumber() bool {
	if len(l.goodCounts) == 0 {
		return false
	}
	var open []*build
	since := make([]int, len(l.goodCounts)) // how many builds have each count as the first one that can be about them
	for _, b := range l.uncounted() {
		if len(possible(l.goodCounts, b)) > 0 {
			open = append(open, b)
			since[firstPossible(l.goodCounts, b)]++
		}
	}
	builds := 0
	for n := 1; n <= len(l.goodCounts); n++ {
		if builds += since[n-1]; builds == n {
			l.assignCounts(open, n)
			return true
		}
	}
	return false
}

// assignCounts ends the builds that the first counts are about.
func (l *Log) assignCounts(open []*build, n int) {
	i := 0
	for _, b := range open {
		if firstPossible(l.goodCounts, b) >= n {
			continue
		}
		b.counted = true
		if b.state == undecided {
			l.succeed(b, l.goodCounts[i].at)
		}
		i++
	}
	l.goodCounts = slices.Delete(l.goodCounts, 0, n)
}

// decideByClosing looks for builds that Nix has closed while it goes on, and which no count of a failure can be about.
func (l *Log) decideByClosing() bool {
	decided := false
	for _, b := range l.uncounted() {
		can := possible(l.goodCounts, b)
		if b.state != undecided || b.closeSeq == 0 || b.closeSeq > l.closedBefore || len(can) == 0 || len(possible(l.badCounts, b)) > 0 {
			continue
		}
		first := can[0]
		l.succeed(b, first.at)
		if len(can) == 1 {
			b.counted = true
			l.goodCounts = slices.DeleteFunc(l.goodCounts, func(f countedEnd) bool { return f == first })
		}
		decided = true
	}
	return decided
}

// uncounted returns the builds that a count may still be about, in the order of their start.
func (l *Log) uncounted() []*build {
	l.begun = slices.DeleteFunc(l.begun, func(b *build) bool {
		return b.counted || b.state == failed || b.state == abandoned
	})
	return l.begun
}

// assignFailureCount takes the count of a build whose failure Nix has told out of the account, if it is certain which one it
// is. Nix may tell the failure of a package only when all others have ended; the count comes at once.
func (l *Log) assignFailureCount(b *build) {
	can := possible(l.badCounts, b)
	if len(can) > 0 {
		b.seconds = run.Seconds(can[0].at.Sub(b.started))
	}
	if len(can) == 1 {
		only := can[0]
		l.badCounts = slices.DeleteFunc(l.badCounts, func(f countedEnd) bool { return f == only })
	}
	l.changed = len(l.goodCounts) > 0
}
