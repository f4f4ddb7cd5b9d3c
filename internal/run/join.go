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

// Join joins the manifests of runs that built different systems of the same source, by the same command. It refuses
// manifests of different sources, commands, inputs or settings, and two manifests of one system.
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
		// The times are in UTC and of one form, so they can be compared as texts.
		all.Started, all.Finished = min(all.Started, m.Started), max(all.Finished, m.Finished)
		all.Outcome = all.Outcome.Worst(m.Outcome)
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

// differsFrom names the first difference that keeps two manifests from being joined; empty if there is none.
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

// names describes a manifest by its systems and its source.
func (m *Manifest) names() string {
	systems := make([]matrix.System, len(m.Cells))
	for i, cell := range m.Cells {
		systems[i] = cell.System
	}
	return fmt.Sprintf("that of %s (%s, NAR hash %s)", Joined(systems), nix.Redact(m.Source.URL), m.Source.NARHash)
}

// withLogs returns a copy in which each log has its whole path: each run has its own directory.
func (c CellResult) withLogs(dir string) CellResult {
	c.Packages = slices.Clone(c.Packages)
	for i := range c.Packages {
		if log := c.Packages[i].Log; log != "" {
			c.Packages[i].Log = filepath.Join(dir, log)
		}
	}
	return c
}

// worse returns the worse result of each check: one of the runs may have skipped it.
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
