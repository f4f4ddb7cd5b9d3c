package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Status is the outcome of a check.
type Status string

// The outcomes of a check. A skipped check does not count as passed. A planned check that did not run has failed.
const (
	Pass Status = "PASS"
	Fail Status = "FAIL"
	Warn Status = "WARN" // a known violation; a failure where the contract is strict
	Skip Status = "SKIP"
)

// Result is the result of a check.
type Result struct {
	// Check is the name of the check, from the general to the specific: "desktop/units/hello.service/Type".
	Check  string        `json:"check"`
	System matrix.System `json:"system,omitempty"` // empty for the flake as a whole
	Status Status        `json:"status"`
	// Reason is one line; empty for a check that passed.
	Reason string `json:"reason,omitempty"`
	Wanted string `json:"wanted,omitempty"`
	Found  string `json:"found,omitempty"`
	// File is relative to the flake's tree; Line is 0 where it is unknown.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Fix is what to type or to change.
	Fix string `json:"fix,omitempty"`
}

// Where returns the position of a result, "file:line"; empty where it has none.
func Where(r Result) string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

// Line returns a result on one line: "nix/package.nix:38: hashes/nix/package.nix/complete: no hash of nucleo-0.5.0".
func Line(r Result) string {
	line := r.Check
	if where := Where(r); where != "" {
		line = where + ": " + line
	}
	if r.Reason != "" {
		line += ": " + r.Reason
	}
	return line
}

// FixLine returns the fix with its position. A fix may have several lines, each with its position.
func FixLine(r Result) string {
	if where := Where(r); where != "" && !strings.HasPrefix(r.Fix, where) {
		return where + ": " + r.Fix
	}
	return r.Fix
}

// Counts returns the numbers of results in words, and whether any has failed.
func Counts(results []Result) (text string, broken bool) {
	n := map[Status]int{}
	for _, r := range results {
		n[r.Status]++
	}
	text = fmt.Sprintf("%d passed", n[Pass])
	for _, s := range []struct {
		Status
		word string
	}{{Fail, "failed"}, {Warn, "warned"}, {Skip, "skipped"}} {
		if n[s.Status] > 0 {
			text += fmt.Sprintf(", %d %s", n[s.Status], s.word)
		}
	}
	return text, n[Fail] > 0
}

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
