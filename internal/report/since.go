package report

import (
	"fmt"
	"math"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// lastOf returns what the last release had of a package.
func lastOf(last run.LastRelease, system matrix.System, name matrix.Package) (run.LastPackage, bool) {
	for _, p := range last.Packages {
		if p.System == system && p.Package == name {
			return p, true
		}
	}
	return run.LastPackage{}, false
}

// changeSince says how much larger a closure has become since the last release. It is empty where one of the two is not
// known, or is that of other outputs.
func changeSince(last run.LastRelease, system matrix.System, p run.PackageResult) string {
	before, known := lastOf(last, system, p.Package)
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
	return fmt.Sprintf("%s%s (%s%.1f %%)", sign, amount(change), sign, percent)
}
