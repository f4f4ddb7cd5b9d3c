package contract

import (
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Finish ends the results of a system, or of the flake as a whole: a check that was planned and did not report has failed,
// and where the contract is strict, so has one that warns.
func (c *Contract) Finish(results []Result, system matrix.System, planned []string) []Result {
	results = Complete(results, system, planned)
	for i := range results {
		results[i].System = system
		if c.Strict && results[i].Status == Warn {
			results[i].Status = Fail
		}
	}
	return results
}

// Complete adds a failure for each planned check of which there is no result: what did not run has not passed.
// A plan of "units" is met by any result whose name is that or begins with "units/", and a plan of
// "home-manager/desktop" also by a failure of "home-manager" as a whole.
func Complete(results []Result, system matrix.System, planned []string) []Result {
	for _, check := range planned {
		reported := slices.ContainsFunc(results, func(r Result) bool {
			return r.Check == check || strings.HasPrefix(r.Check, check+"/") ||
				r.Status == Fail && strings.HasPrefix(check, r.Check+"/")
		})
		if !reported {
			results = append(results, Result{Check: check, System: system, Status: Fail, Reason: "planned, and did not run"})
		}
	}
	return results
}
