package contract

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// directives are what a unit says, by name: of a file, or of an attribute set that becomes one.
type directives map[string][]string

// anyValue stands in a contract for any value but none.
const anyValue = "*"

// check reports each promise that the unit does not keep.
func (d directives) check(v *recorder, prefix string, promises Expectations) {
	for _, name := range slices.Sorted(maps.Keys(promises)) {
		wanted := promises[name]
		found, ok := d[name]
		if !ok || !satisfies(found, wanted) {
			r := Result{Check: prefix + "/" + name, Status: Fail, Reason: name + " is not as promised"}
			if !ok {
				r.Reason = name + " is not set"
			}
			r.Wanted, r.Found = assignments(name, wanted), assignments(name, found)
			v.add(r)
		}
	}
}

// keeps tells whether all that is wanted was found; what is found beyond that is the unit's own affair.
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

// sameValue compares two values as systemd reads them. It writes booleans in several ways, of which 0 and 1
// are numbers where the contract does not ask for a boolean by word.
func sameValue(found, wanted string) bool {
	if _, err := strconv.Atoi(wanted); err == nil {
		return found == wanted
	}
	f, w := boolean(found), boolean(wanted)
	return found == wanted || f != "" && f == w
}

// boolean gives systemd's ways to write a boolean one form; it is empty for any other value.
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

// with returns the promises of both; where both name a directive, the others count.
func (d Expectations) merge(others Expectations) Expectations {
	all := Expectations{}
	maps.Copy(all, d)
	maps.Copy(all, others)
	return all
}
