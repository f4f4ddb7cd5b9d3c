package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// publishView is the publish state of a system: "not published to", the cache, ", 8 paths left", and the reason.
type publishView struct {
	mark                      mark
	verb, cache, rest, reason string
	sent                      string // what was pushed, and what was there
}

func newPublishView(p run.PublishResult) *publishView {
	switch p.Verdict {
	case run.Published:
		return &publishView{mark: passed, verb: "published to", cache: p.Cache, sent: ": " + p.String()}
	case run.NotWanted:
		return &publishView{mark: skipped, verb: "nothing was pushed", reason: p.Reason}
	case run.Withheld:
		return &publishView{mark: warning, verb: "withheld from the cache", reason: p.Reason}
	case run.Unpublished:
		left := fmt.Sprintf(", %s left", run.Count(p.Left, "path"))
		return &publishView{mark: failed, verb: "not published to", cache: p.Cache, rest: left, reason: p.Reason}
	}
	return &publishView{mark: failed, verb: "pushed to", cache: p.Cache, rest: ", and " + string(p.Verdict), reason: p.Reason}
}

// consumers counts the packages that users of the public cache get, and names the others.
// It is empty if the cache was not asked.
func consumers(packages []packageView) string {
	hits := 0
	var misses []matrix.Package
	for _, p := range packages {
		switch p.Consumer {
		case run.Visible:
			hits++
		case run.NotVisible:
			misses = append(misses, p.Package)
		}
	}
	if hits+len(misses) == 0 {
		return ""
	}
	text := fmt.Sprintf("consumers get %d of %s", hits, run.Count(hits+len(misses), "package"))
	if len(misses) > 0 {
		text += ", not " + run.Joined(misses)
	}
	return text
}

// isHit reports whether users of the public cache get the package: by the answer of the cache, or else by where the
// package was found.
func isHit(p run.PackageResult) bool {
	return p.Consumer == run.Visible || p.Consumer == "" && p.Verdict == run.Served && isWeb(p.ServedBy)
}

// isWeb distinguishes a cache that others can reach from a directory of this machine.
func isWeb(cache string) bool {
	return strings.HasPrefix(cache, "https://") || strings.HasPrefix(cache, "http://")
}

func inLastRelease(last run.LastRelease, system matrix.System, name matrix.Package) (run.LastPackage, bool) {
	for _, p := range last.Packages {
		if p.System == system && p.Package == name {
			return p, true
		}
	}
	return run.LastPackage{}, false
}

// changeSince returns the change of a closure's size since the last release. It is empty if one of the two sizes is
// unknown, or belongs to other outputs.
func changeSince(last run.LastRelease, system matrix.System, p run.PackageResult) string {
	before, known := inLastRelease(last, system, p.Package)
	switch {
	case last.From == "" || p.ClosureBytes == 0:
		return ""
	case !known:
		return "new"
	case before.ClosureBytes == 0 || before.Outputs != len(p.Outputs):
		return ""
	}
	change := p.ClosureBytes - before.ClosureBytes
	sign := "+"
	switch {
	case change == 0:
		return "same size"
	case change < 0:
		sign, change = "−", -change
	}
	percent := math.Abs(100 * float64(change) / float64(before.ClosureBytes))
	return fmt.Sprintf("%s%s (%s%.1f %%)", sign, printable.Size(change), sign, percent)
}
