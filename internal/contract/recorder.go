package contract

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// recorder collects the results of one system.
type recorder struct {
	system  matrix.System
	results []Result
}

func (v *recorder) add(r Result) {
	r.System = v.system
	v.results = append(v.results, r)
}

func (v *recorder) pass(check string) { v.add(Result{Check: check, Status: Pass}) }

func (v *recorder) skip(check, format string, args ...any) {
	v.add(Result{Check: check, Status: Skip, Reason: fmt.Sprintf(format, args...)})
}

func (v *recorder) fail(check, format string, args ...any) {
	v.add(Result{Check: check, Status: Fail, Reason: fmt.Sprintf(format, args...)})
}

// compare records a result for a check that has one wanted value.
func (v *recorder) compare(check, reason, wanted, found string) {
	if wanted == found {
		v.pass(check)
		return
	}
	v.add(Result{Check: check, Status: Fail, Reason: reason, Wanted: wanted, Found: found})
}

// group records a pass, unless f records results.
func (v *recorder) group(check string, f func()) {
	before := len(v.results)
	f()
	if len(v.results) == before {
		v.pass(check)
	}
}

// missing returns those of wanted that are not in found.
func missing[T comparable](wanted, found []T) []T {
	there := make(map[T]bool, len(found))
	for _, f := range found {
		there[f] = true
	}
	var lacking []T
	for _, w := range wanted {
		if !there[w] {
			lacking = append(lacking, w)
		}
	}
	return lacking
}

func joined[T ~string](names []T) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = string(n)
	}
	return strings.Join(s, ", ")
}
