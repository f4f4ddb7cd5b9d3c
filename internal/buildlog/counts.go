package buildlog

import (
	"slices"
	"sort"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// counts are the numbers of builds that have succeeded and failed so far. Nix reports them without the names of the builds.
//
// Each count is about one build. Nix began that build before the count, reports nothing about it afterwards, and has its
// activity open at that time. A failure can also be that of a derivation that Nix refuses to build. Nix closes the activity
// of a dependency right after its count. It closes those of the packages when all builds are over, in any order.
type counts struct {
	counter               uint64 // Nix's number of the activity that counts; 0 until it is known
	good, bad             int64  // so far
	goodCounts, badCounts []countedEnd
	begun                 []*build // by this process of Nix, except those whose count is known
	changed               bool     // another result may be certain now
	lastClosed            int64    // when Nix last closed a build
	closedBefore          int64    // Nix closed the builds before this one while it went on building
}

// countedEnd is the end of an unknown build.
type countedEnd struct {
	at  time.Time
	seq int64
}

// setCounter records which activity counts. The Nix of a remote builder has its own activity, which starts later.
func (l *Log) setCounter(id uint64) {
	if l.counter == 0 {
		l.counter = id
	}
}

// addCounts adds the builds that have succeeded and failed since the last time.
func (l *Log) addCounts(good, bad int64) {
	for ; l.good < good; l.good++ {
		l.goodCounts = append(l.goodCounts, countedEnd{at: l.Now(), seq: l.next()})
		l.changed = true
	}
	for ; l.bad < bad; l.bad++ {
		l.badCounts = append(l.badCounts, countedEnd{at: l.Now(), seq: l.next()})
	}
}

// noteProgress records that Nix begins or continues a build, whose last activity was at heardSeq. So Nix did not close the
// other builds because it ends. A log can have millions of lines, so this does little for most of them.
func (l *Log) noteProgress(heardSeq int64) {
	if n := len(l.goodCounts); n > 0 && (heardSeq < l.goodCounts[n-1].seq || l.closedBefore < l.lastClosed) {
		l.changed = true
	}
	l.closedBefore = l.seq
}

// possible returns the counts that can be about a build, in the order of their time.
func possible(all []countedEnd, b *build) []countedEnd {
	return all[firstPossible(all, b):lastPossible(all, b)]
}

// firstPossible and lastPossible are the bounds of the counts between a build's last activity and the end of its Nix
// activity. lastPossible is never less than firstPossible.
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

// decideByNumber finds the shortest prefix of the counts that can be about exactly as many builds as it has counts.
func (l *Log) decideByNumber() bool {
	if len(l.goodCounts) == 0 {
		return false
	}
	var open []*build
	since := make([]int, len(l.goodCounts)) // the number of builds, by the first count that can be about them
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

// decideByClosing finds the builds that Nix has closed while it continues to build, and that cannot have failed.
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

// uncounted returns the builds that a count can still be about, in the order of their start.
func (l *Log) uncounted() []*build {
	l.begun = slices.DeleteFunc(l.begun, func(b *build) bool {
		return b.counted || b.state == failed || b.state == abandoned
	})
	return l.begun
}

// assignFailureCount removes the count of a failed build, if it is certain which count that is. Nix counts a failure at
// once, but may report the failure of a package only after all other builds.
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
