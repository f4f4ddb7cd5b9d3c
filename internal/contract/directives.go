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

// check reports each directive that is not as expected.
func (d directives) check(v *recorder, prefix string, expected Expectations) {
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		wanted := expected[name]
		found, ok := d[name]
		if !ok || !satisfies(found, wanted) {
			r := Result{Check: prefix + "/" + name, Status: Fail, Reason: name + " is not as required"}
			if !ok {
				r.Reason = name + " is not set"
			}
			r.Wanted, r.Found = assignments(name, wanted), assignments(name, found)
			v.add(r)
		}
	}
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
