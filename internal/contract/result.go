package contract

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Status is the end of a check.
type Status string

// The ends of a check. A skipped check never counts as one that passed, and one that was planned and did not run has failed.
const (
	Pass Status = "PASS"
	Fail Status = "FAIL"
	Warn Status = "WARN" // a promise that is broken, and known to be so; a failure where the contract is strict
	Skip Status = "SKIP"
)

// Result is what a check found.
type Result struct {
	// Check names the promise, from the general to the special: "desktop/units/open-sesame-wm.service/Type".
	Check  string        `json:"check"`
	System matrix.System `json:"system,omitempty"` // empty for a promise of the flake as a whole
	Status Status        `json:"status"`
	// Reason is one line for a person; empty for a check that passed.
	Reason string `json:"reason,omitempty"`
	Wanted string `json:"wanted,omitempty"`
	Found  string `json:"found,omitempty"`
	// File is relative to the flake's tree; Line is 0 where it cannot be told.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Fix is what to type or to change.
	Fix string `json:"fix,omitempty"`
}

// Where returns the place of a result as editors take it, "file:line"; empty where it has none.
func Where(r Result) string {
	if r.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}

// Line tells a result on one line: "nix/package.nix:38: hashes/nix/package.nix/complete: no hash of nucleo-0.5.0".
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

// MendLine tells where to do what. Some mends are several lines, each with its place.
func FixLine(r Result) string {
	if where := Where(r); where != "" && !strings.HasPrefix(r.Fix, where) {
		return where + ": " + r.Fix
	}
	return r.Fix
}
