package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// findings are the results of checks, in order.
type findings []Result

// severity orders the outcomes.
var severity = map[Status]int{Pass: 0, Skip: 1, Warn: 2, Fail: 3}

// check adds the results of a check: those found, or a pass where nothing was found. The name of a result that was found is
// added to that of the check; it is empty, or begins with a slash. A result without a status is a failure. Results with the
// same name become one: the worst of them, or the first with the reasons of all that are as bad.
func (f *findings) check(name string, found ...Result) {
	first := len(*f)
	for _, r := range found {
		r.Check, r.Status = name+r.Check, cmp.Or(r.Status, Fail)
		at := slices.IndexFunc((*f)[first:], func(other Result) bool { return other.Check == r.Check })
		if at < 0 {
			*f = append(*f, r)
			continue
		}
		switch other := &(*f)[first+at]; {
		case r == *other:
		case severity[r.Status] > severity[other.Status]:
			*other = r
		case r.Status == other.Status:
			other.Reason += "; " + r.Reason
			other.Fix = strings.TrimSpace(other.Fix + "\n" + r.Fix)
		}
	}
	if len(found) == 0 {
		*f = append(*f, Result{Check: name, Status: Pass})
	}
}

func fail(format string, args ...any) []Result {
	return []Result{{Reason: fmt.Sprintf(format, args...)}}
}

func skip(format string, args ...any) []Result {
	return []Result{{Status: Skip, Reason: fmt.Sprintf(format, args...)}}
}

// differs returns a failure where the values differ.
func differs(reason, wanted, found string) []Result {
	if wanted == found {
		return nil
	}
	return []Result{{Reason: reason, Wanted: wanted, Found: found}}
}

// named returns the results of one check.
func named(name string, found []Result) (all findings) {
	all.check(name, found...)
	return all
}

// below returns the results of a check whose name is below that of another.
func below(name string, found ...Result) []Result { return named("/"+name, found) }

// missing returns those of wanted that are not in found.
func missing[T comparable](wanted, found []T) (lacking []T) {
	for _, w := range wanted {
		if !slices.Contains(found, w) {
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
