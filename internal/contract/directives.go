package contract

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// directives are the values in a unit by name. The unit is a file, or an attribute set that becomes one.
type directives map[string][]string

// anyValue requires any value.
const anyValue = "*"

// check returns a failure for each directive that is not as expected.
func (d directives) check(expected Expectations) (broken []Result) {
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		found, ok := d[name]
		if ok && satisfies(found, expected[name]) {
			continue
		}
		reason := name + " is not as required"
		if !ok {
			reason = name + " is not set"
		}
		broken = append(broken, Result{
			Check: "/" + name, Reason: reason, Wanted: assignments(name, expected[name]), Found: assignments(name, found),
		})
	}
	return broken
}

// satisfies tells whether all wanted values were found. Further values are allowed.
func satisfies(found []string, wanted Values) bool {
	if len(wanted) == 1 && wanted[0] == anyValue {
		return strings.Join(found, "") != ""
	}
	if len(wanted) == 1 && len(found) == 1 {
		return sameValue(found[0], wanted[0]) || slices.Contains(strings.Fields(found[0]), wanted[0])
	}
	var words []string
	for _, f := range found {
		words = append(append(words, f), strings.Fields(f)...)
	}
	return len(missing(wanted, words)) == 0
}

// sameValue compares two values as systemd reads them. Systemd accepts several words for a boolean; where the contract
// has 0 or 1, it means the number.
func sameValue(found, wanted string) bool {
	if _, err := strconv.Atoi(wanted); err == nil {
		return found == wanted
	}
	f, w := boolean(found), boolean(wanted)
	return found == wanted || f != "" && f == w
}

// boolean returns "true" or "false" for any of systemd's words for a boolean, and "" for other values.
func boolean(value string) string {
	switch strings.ToLower(value) {
	case "1", "yes", "y", "true", "t", "on":
		return "true"
	case "0", "no", "n", "false", "f", "off":
		return "false"
	}
	return ""
}

func assignments(name string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	return name + "=" + strings.Join(values, " ")
}

// merge returns the expectations of both. Where both have a directive, others takes precedence.
func (d Expectations) merge(others Expectations) Expectations {
	all := Expectations{}
	maps.Copy(all, d)
	maps.Copy(all, others)
	return all
}
