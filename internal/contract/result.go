package contract

import (
	"fmt"
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
