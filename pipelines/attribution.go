package pipelines

import (
	"slices"
	"time"
)

// counts are what Nix's progress tells of builds without naming them: how many have succeeded, and how many have failed.
//
// Each count is about one build that Nix has begun before it, that says nothing after it, and whose activity is open
// when it comes. (A failure may also be that of a derivation that Nix refuses to build.) Nix closes the activity of a
// dependency right after its count, and that of a package only at the end of all, in any order.
type counts struct {
	id           uint64 // of the activity that counts; 0 until it is known
	good, bad    int64  // so far
	goods, bads  []finish
	changed      bool  // something may be certain now
	lastClosed   int64 // when Nix has last closed a build
	closedBefore int64 // what was closed before this was not closed because Nix ends
}

// finish is a count that is about an unknown build.
type finish struct {
	at  time.Time
	seq int64
}

// countsOf notes which activity counts. A remote builder's Nix has one of its own, after ours.
func (l *buildLog) countsOf(id uint64) {
	if l.id == 0 {
		l.id = id
	}
}

// count takes the numbers of builds that have succeeded and failed so far.
func (l *buildLog) count(good, bad int64) {
	for ; l.good < good; l.good++ {
		l.goods = append(l.goods, finish{at: l.r.Now(), seq: l.next()})
		l.changed = true
	}
	for ; l.bad < bad; l.bad++ {
		l.bads = append(l.bads, finish{at: l.r.Now(), seq: l.next()})
	}
}

// goOn notes that Nix begins or continues a build, which has last been heard at spoke: so it was not its own end that
// closed other builds. A log has millions of lines, so little is done for most of them.
func (l *buildLog) goOn(spoke int64) {
	if n := len(l.goods); n > 0 && (spoke < l.goods[n-1].seq || l.closedBefore < l.lastClosed) {
		l.changed = true
	}
	l.closedBefore = l.seq
}

// canBe says whether a count can be about a build.
func (f finish) canBe(b *running) bool {
	return b.spoke < f.seq && (b.closed == 0 || b.closed > f.seq)
}

// possible returns those of the counts that can be about a build.
func possible(all []finish, b *running) []finish {
	var some []finish
	for _, f := range all {
		if f.canBe(b) {
			some = append(some, f)
		}
	}
	return some
}

// decide finds the builds that are certain to be good.
func (l *buildLog) decide() {
	for l.changed {
		l.changed = l.decideByNumber() || l.decideByClosing()
	}
}

// decideByNumber looks for counts that can be about no more builds than there are counts.
func (l *buildLog) decideByNumber() bool {
	if len(l.goods) == 0 {
		return false
	}
	open := l.uncounted()
	for n := 1; n <= len(l.goods); n++ {
		var can []*running
		for _, b := range open {
			if len(possible(l.goods[:n], b)) > 0 {
				can = append(can, b)
			}
		}
		if len(can) != n {
			continue
		}
		for i, b := range can {
			b.counted = true
			if b.state == undecided {
				l.succeed(b, l.goods[i].at)
			}
		}
		l.goods = slices.Delete(l.goods, 0, n)
		return true
	}
	return false
}

// decideByClosing looks for builds that Nix has closed while it goes on, and which no count of a failure can be about.
func (l *buildLog) decideByClosing() bool {
	decided := false
	for _, b := range l.undecided() {
		can := possible(l.goods, b)
		if b.closed == 0 || b.closed > l.closedBefore || len(can) == 0 || len(possible(l.bads, b)) > 0 {
			continue
		}
		l.succeed(b, can[0].at)
		if len(can) == 1 {
			b.counted = true
			l.goods = slices.DeleteFunc(l.goods, func(f finish) bool { return f == can[0] })
		}
		decided = true
	}
	return decided
}

// uncounted returns the builds that a count may still be about, in the order of their start.
func (l *buildLog) uncounted() []*running {
	var list []*running
	for _, b := range l.builds {
		if !b.counted && (b.state == undecided || b.state == succeeded) {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *running) int { return int(a.began - b.began) })
	return list
}

// countFailure takes the count of a build whose failure Nix has told out of the account, if it is certain which one it
// is. Nix may tell the failure of a package only when all others have ended; the count comes at once.
func (l *buildLog) countFailure(b *running) {
	can := possible(l.bads, b)
	if len(can) > 0 {
		b.seconds = seconds(can[0].at.Sub(b.started))
	}
	if len(can) == 1 {
		l.bads = slices.DeleteFunc(l.bads, func(f finish) bool { return f == can[0] })
	}
	l.changed = len(l.goods) > 0
}
