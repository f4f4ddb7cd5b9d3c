package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Join joins the manifests of builds, which must be good and of the same source. If there are rebuilds, they must be of
// that source, too, of other runs, with the same systems, packages, derivations and outputs.
func Join(builds, rebuilds []*Results) (built, rebuilt *run.Manifest, err error) {
	if built, err = joinGood(builds); err != nil || len(rebuilds) == 0 {
		return built, nil, err
	}
	if rebuilt, err = joinGood(rebuilds); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(otherRuns(builds, rebuilds), sameSource(built, rebuilt)); err != nil {
		return nil, nil, err
	}
	return built, rebuilt, samePackages(built, rebuilt)
}

func joinGood(all []*Results) (*run.Manifest, error) {
	manifests := make([]*run.Manifest, len(all))
	for i, r := range all {
		manifests[i] = r.Manifest
		if end := r.Manifest.Outcome; end != run.OutcomeGood {
			return nil, &run.OutcomeError{Text: fmt.Sprintf("%s is not good: %.40q", r.Name, end), End: end.Worst(run.OutcomeContract)}
		}
	}
	return run.Join(manifests)
}

// otherRuns refuses a rebuild with the manifest of a build: two runs have different times and names.
func otherRuns(builds, rebuilds []*Results) error {
	for _, build := range builds {
		for _, rebuild := range rebuilds {
			if bytes.Equal(build.Raw, rebuild.Raw) {
				return hint.Wrap(fmt.Errorf("compare builds: %s is of the same run as %s", rebuild.Name, build.Name), "make the rebuild on another machine")
			}
		}
	}
	return nil
}

// sameSource compares the source trees and their locked inputs.
func sameSource(a, b *run.Manifest) error {
	for _, pair := range []struct {
		what string
		a, b any
	}{{"source", a.Source, b.Source}, {"set of inputs", a.Inputs, b.Inputs}} {
		first, errA := json.Marshal(pair.a)
		second, errB := json.Marshal(pair.b)
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		if string(first) != string(second) {
			return fmt.Errorf("compare builds: the rebuilds are of another %s: commit %.40q, NAR hash %.60q, not commit %.40q, NAR hash %.60q",
				pair.what, b.Source.Rev, b.Source.NARHash, a.Source.Rev, a.Source.NARHash)
		}
	}
	return nil
}

// samePackages compares what was to be built: systems, packages, derivations and output paths.
func samePackages(a, b *run.Manifest) error {
	first, second := outputsOf(a), outputsOf(b)
	for _, key := range slices.Sorted(maps.Keys(first)) {
		switch other, ok := second[key]; {
		case !ok:
			return fmt.Errorf("compare builds: no rebuild of %s", key)
		case other != first[key]:
			return fmt.Errorf("compare builds: %s is %s in the rebuild, not %s", key, other, first[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(second)) {
		if _, ok := first[key]; !ok {
			return fmt.Errorf("compare builds: the rebuilds have %s, which no build has", key)
		}
	}
	return nil
}

func outputsOf(m *run.Manifest) map[string]nix.StorePath {
	all := map[string]nix.StorePath{}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			all[fmt.Sprintf("the derivation of %s on %s", p.Package, cell.System)] = p.Derivation
			for _, o := range p.Outputs {
				all[fmt.Sprintf("output %s of %s on %s", o.Name, p.Package, cell.System)] = o.Path
			}
		}
	}
	return all
}
