package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Join makes one manifest of those of runs that have each built other systems of the same source, by the same command.
// Runs that were about something else, and two of one system, are refused: what one of them says is not true of the other.
func Join(manifests []*Manifest) (*Manifest, error) {
	if len(manifests) == 0 {
		return nil, errors.New("join manifests: there is none")
	}
	all := *manifests[0]
	all.Logs, all.Cells, all.Contract = "", nil, slices.Clone(all.Contract)
	for i, m := range manifests {
		if other := m.differsFrom(manifests[0]); other != "" {
			return nil, fmt.Errorf("join manifests: %s is of another %s than %s", m.names(), other, manifests[0].names())
		}
		for _, cell := range m.Cells {
			if slices.ContainsFunc(all.Cells, func(c CellResult) bool { return c.System == cell.System }) {
				return nil, fmt.Errorf("join manifests: two are of %s", cell.System)
			}
			all.Cells = append(all.Cells, cell.withLogs(m.Logs))
		}
		// The texts are in UTC and of one form, so that their order is that of the times.
		all.Started, all.Finished = min(all.Started, m.Started), max(all.Finished, m.Finished)
		all.Outcome = all.Outcome.Heavier(m.Outcome)
		if i > 0 {
			all.Contract = worse(all.Contract, m.Contract)
		}
	}
	order := matrix.Systems()
	slices.SortFunc(all.Cells, func(a, b CellResult) int {
		return slices.Index(order, a.System) - slices.Index(order, b.System)
	})
	return &all, nil
}

// differsFrom names the first thing in which two manifests have to be the same, and are not.
func (m *Manifest) differsFrom(other *Manifest) string {
	for _, field := range []struct {
		name string
		a, b any
	}{
		{"source", m.Source, other.Source},
		{"command", m.Command, other.Command},
		{"version of this program", m.Tool, other.Tool},
		{"set of inputs", m.Inputs, other.Inputs},
		{"set of settings", m.Settings, other.Settings},
	} {
		a, errA := json.Marshal(field.a)
		b, errB := json.Marshal(field.b)
		if errA != nil || errB != nil || string(a) != string(b) {
			return field.name
		}
	}
	return ""
}

// names says which systems a manifest is of, and of what.
func (m *Manifest) names() string {
	systems := make([]matrix.System, len(m.Cells))
	for i, cell := range m.Cells {
		systems[i] = cell.System
	}
	return fmt.Sprintf("that of %s (%s, NAR hash %s)", Joined(systems), nix.Redact(m.Source.URL), m.Source.NARHash)
}

// withLogs gives each log its whole path, since each run has a directory of its own.
func (c CellResult) withLogs(dir string) CellResult {
	c.Packages = slices.Clone(c.Packages)
	for i := range c.Packages {
		if log := c.Packages[i].Log; log != "" {
			c.Packages[i].Log = filepath.Join(dir, log)
		}
	}
	return c
}

// worse returns, for each check of the flake's files, the worse of two results: one run may not have reached what another did.
func worse(a, b []contract.Result) []contract.Result {
	badness := []contract.Status{contract.Pass, contract.Skip, contract.Warn, contract.Fail}
	for _, r := range b {
		i := slices.IndexFunc(a, func(other contract.Result) bool { return other.Check == r.Check })
		switch {
		case i < 0:
			a = append(a, r)
		case slices.Index(badness, r.Status) > slices.Index(badness, a[i].Status):
			a[i] = r
		}
	}
	return a
}
