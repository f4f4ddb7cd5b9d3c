package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/capsule"
	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// replayReport is what came of a capsule. It is what --json prints.
type replayReport struct {
	Capsule  string            `json:"capsule"`
	Same     bool              `json:"same"`
	Failures []replayedFailure `json:"failures"`
	// NotBuilt are the systems of which nothing could be built, so that of their failures nothing is known.
	NotBuilt []notBuilt `json:"notBuilt,omitempty"`
	// Conditions are those under which it failed there and was built here, as far as they differ.
	Conditions []compare.Field `json:"conditions,omitempty"`
}

type replayedFailure struct {
	System     matrix.System `json:"system"`
	Derivation nix.StorePath `json:"derivation"`
	Verdict    string        `json:"verdict"`
	There      string        `json:"there,omitempty"`
	Here       string        `json:"here,omitempty"`
}

type notBuilt struct {
	System matrix.System `json:"system"`
	Error  string        `json:"error"`
}

// The verdicts of a replay. The last one is a system's, the others are a derivation's.
const (
	sameFailure  = "SAME FAILURE"
	otherFailure = "OTHER FAILURE"
	noFailure    = "NO FAILURE"
	notBuiltHere = "NOT BUILT"
)

func newReplayReport(file string, c *capsule.Capsule, results []pipelines.Replayed) *replayReport {
	r := &replayReport{Capsule: file, Same: true, Failures: []replayedFailure{}}
	for _, result := range results {
		if result.Err != nil {
			r.NotBuilt = append(r.NotBuilt, notBuilt{System: result.System, Error: result.Err.Error()})
			r.Same = false
			continue
		}
		i := slices.IndexFunc(c.Cells, func(cell capsule.Cell) bool { return cell.System == result.System })
		r.add(c.Cells[i], result)
	}
	return r
}

// add compares each failure of a system with what it came to here, and adds those that are new.
func (r *replayReport) add(cell capsule.Cell, result pipelines.Replayed) {
	seen := map[nix.StorePath]bool{}
	for _, f := range cell.Failures {
		seen[f.Derivation] = true
		found := replayedFailure{System: cell.System, Derivation: f.Derivation, Verdict: noFailure, There: f.Ending()}
		if here := result.Failures[f.Derivation]; here != nil {
			found.Here, found.Verdict = here.Ending(), otherFailure
			if found.Here == found.There {
				found.Verdict = sameFailure
			}
		}
		r.Failures = append(r.Failures, found)
	}
	for _, drv := range slices.Sorted(maps.Keys(result.Failures)) {
		if !seen[drv] {
			r.Failures = append(r.Failures, replayedFailure{
				System: cell.System, Derivation: drv, Verdict: otherFailure, Here: result.Failures[drv].Ending(),
			})
		}
	}
	for _, f := range r.Failures {
		r.Same = r.Same && f.Verdict == sameFailure
	}
	r.addConditions(cell, result)
}

func (r *replayReport) addConditions(there capsule.Cell, here pipelines.Replayed) {
	add := func(name string, x, y any) {
		if p, q := fmt.Sprint(x), fmt.Sprint(y); p != q {
			r.Conditions = append(r.Conditions, compare.Field{Name: string(there.System) + " " + name, A: p, B: q})
		}
	}
	if a, b := there.Engine, here.Engine; a != nil && b != nil {
		add("engine", a.Kind+" "+a.Version, b.Kind+" "+b.Version)
		add("Nix", a.Nix.Text, b.Nix.Text)
		add("image", a.Image, b.Image)
		add("machine", a.Native, b.Native)
		add("kernel", a.Kernel, b.Kernel)
		add("emulator", a.Emulator+" "+a.EmulatorVersion, b.Emulator+" "+b.EmulatorVersion)
		add("processors", a.Cores, b.Cores)
	}
	if there.Sandbox != nil && here.Sandbox != nil {
		add("sandbox", *there.Sandbox, *here.Sandbox)
	}
	if there.Memlock != nil && here.Memlock != nil {
		add("memory to lock", *there.Memlock, *here.Memlock)
	}
}

func (r *replayReport) print(w io.Writer) error {
	var text strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&text, "%-13s  %s  %s\n", f.Verdict, f.System, f.Derivation)
		if f.Verdict == sameFailure {
			fmt.Fprintf(&text, "  %s\n", nix.FirstLine(nix.PlainText(f.Here)))
			continue
		}
		for _, side := range [][2]string{{"there", f.There}, {"here", f.Here}} {
			if side[1] != "" {
				fmt.Fprintf(&text, "  %-6s %s\n", side[0]+":", nix.FirstLine(nix.PlainText(side[1])))
			}
		}
	}
	for _, n := range r.NotBuilt {
		fmt.Fprintf(&text, "%-13s  %s\n  here:  %s\n", notBuiltHere, n.System, nix.FirstLine(nix.PlainText(n.Error)))
	}
	if len(r.Conditions) > 0 {
		fmt.Fprintln(&text, "other conditions than there:")
	}
	for _, c := range r.Conditions {
		fmt.Fprintf(&text, "  %-28s there: %s\n  %-28s here:  %s\n", c.Name, cmp.Or(nix.FirstLine(nix.PlainText(c.A)), "-"), "", cmp.Or(c.B, "-"))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// replayError says that something did not fail in the same way. It is a result, and no failure of this program.
type replayError struct {
	capsule   string
	other, of int
}

func (e *replayError) Error() string {
	return fmt.Sprintf("replay %s: %d of %d failures are not the same here", e.capsule, e.other, e.of)
}

// Outcome of two machines on which not the same happens.
func (e *replayError) Outcome() pipelines.Outcome { return pipelines.OutcomeDifferent }

// err tells of failures that are not the same. Of systems that were not built, the error of building them tells.
func (r *replayReport) err() error {
	e := &replayError{capsule: r.Capsule, of: len(r.Failures)}
	for _, f := range r.Failures {
		if f.Verdict != sameFailure {
			e.other++
		}
	}
	if e.other == 0 {
		return nil
	}
	return hint.Wrap(e, "look at what differs between the machines; the ends of the logs are in the capsule: tar --zstd -tf %s", quote(r.Capsule))
}
