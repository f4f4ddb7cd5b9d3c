package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/dagger"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// runOptions returns the options of a run that repeats the one of a manifest.
func (o *reproduceOptions) runOptions(id, file string, m *run.Manifest) (r options, err error) {
	if m.Source.URL == "" || len(m.Cells) == 0 {
		return r, errors.New("reproduce: the manifest names no source, or no system")
	}
	r.project = projectOf(m.Source.URL)
	if o.memlock != nil {
		r.project.Memlock = *o.memlock
	}
	r.engineOptions, r.verbose = o.engineOptions, o.verbose
	r.resultOptions = o.resultsOf(id, file)
	r.contract.mode, r.contract.file = warn, o.contractFile
	r.rebuild.Rebuilding = pipelines.Rebuilding{WarnOnly: true, Fetched: true, NotBuilt: !hasDifference(m), Apart: apart}
	r.cells, err = o.cellsOf(m)
	if err = cmp.Or(err, o.engineOptions.check(), r.contract.parse(r.project, nil)); err != nil {
		return r, usage(err)
	}
	if len(m.Contract) == 0 && !slices.ContainsFunc(m.Cells, func(c run.CellResult) bool { return len(c.Contract) > 0 }) {
		r.contract.Contract, r.contract.Without = nil, "the run of the manifest checked no contract"
	}
	if r.overrides, err = o.overridesOf(m); err != nil {
		return r, usage(err)
	}
	if err := o.checkTrust(m.Settings, r.project); err != nil {
		return r, err
	}
	r.project.Flake = cmp.Or(o.source, m.Source.URL)
	r.project.Substituters, r.project.TrustedKeys = cachesAndKeys(m.Settings)
	if r.image == (dagger.Image{}) {
		r.image, err = o.imageOf(m)
	}
	return r, err
}

// resultsOf returns the directory of the new results, and those of earlier ones.
func (o *reproduceOptions) resultsOf(id, file string) resultOptions {
	r := resultOptions{run: id, out: regular.NewDir(cmp.Or(o.out, filepath.Join("reproduced", id)))}
	if dir := filepath.Dir(file); isFile(filepath.Join(dir, "cache", "nix-cache-info")) {
		r.others = append(r.others, dir) // of the manifest's run
	}
	if o.out == "" {
		r.others = append(r.others, filepath.Dir(r.out.Name())) // of other reproductions
	}
	return r
}

// hasDifference reports whether a second build of the manifest's run differed. To see that again takes two builds here.
func hasDifference(m *run.Manifest) bool {
	return slices.ContainsFunc(m.Cells, func(c run.CellResult) bool {
		return slices.ContainsFunc(c.Packages, func(p run.PackageResult) bool { return p.Difference != nil })
	})
}

// cellsOf returns the manifest's packages for the selected systems.
func (o *reproduceOptions) cellsOf(m *run.Manifest) (cells []matrix.Cell, err error) {
	for _, system := range o.systems {
		if !slices.ContainsFunc(m.Cells, func(c run.CellResult) bool { return c.System == system }) {
			return nil, fmt.Errorf("parse --system %s: the manifest does not have it", system)
		}
	}
	for _, cell := range m.Cells {
		if len(o.systems) > 0 && !slices.Contains(o.systems, cell.System) {
			continue
		}
		packages := make([]matrix.Package, len(cell.Packages))
		for i, p := range cell.Packages {
			packages[i] = p.Package
		}
		cells = append(cells, matrix.Cell{System: cell.System, Packages: packages})
	}
	return cells, nil
}

// overridesOf returns the flakes that replaced inputs in the manifest's run. A directory has to be on the command line,
// with the same tree: a manifest of a stranger must not choose which directory of this machine the flake can read.
func (o *reproduceOptions) overridesOf(m *run.Manifest) (all []override, err error) {
	given := slices.Clone(o.overrides)
	for _, input := range slices.Sorted(maps.Keys(m.Source.Overrides)) {
		ref, err := flake.ParseRef(m.Source.Overrides[input])
		if err != nil {
			return nil, fmt.Errorf("read override of input %s in the manifest: %v", input, err)
		}
		v := override{input: input, flake: m.Source.Overrides[input]}
		if ref.IsLocal() {
			i := slices.IndexFunc(given, func(v override) bool { return v.input == input })
			if i < 0 {
				return nil, hint.Wrap(fmt.Errorf("reproduce: the run replaced input %s by a directory", input),
					"name the directory that has the same tree: --override-input %s=DIR", input)
			}
			if ref.NARHash == "" {
				return nil, fmt.Errorf("reproduce: the manifest does not have the NAR hash of the directory that replaced input %s", input)
			}
			v.flake, v.narHash = given[i].flake, ref.NARHash
			given = slices.Delete(given, i, i+1)
		}
		all = append(all, v)
	}
	if len(given) > 0 {
		return nil, fmt.Errorf("parse --override-input %s: the run of the manifest did not replace it by a directory", given[0].input)
	}
	return all, nil
}

func cachesAndKeys(settings nix.Settings) (caches, keys []string) {
	return strings.Fields(settings["substituters"]), strings.Fields(settings["trusted-public-keys"])
}

// checkTrust refuses caches and keys of the manifest that neither this program nor the command line names. The owner of a
// trusted key can put anything into the store under any path.
func (o *reproduceOptions) checkTrust(settings nix.Settings, p project.Project) error {
	if o.trust {
		return nil
	}
	known := slices.Concat(p.Substituters, p.TrustedKeys, project.Default().Substituters, project.Default().TrustedKeys, o.substituters, o.trustedKeys)
	caches, keys := cachesAndKeys(settings)
	foreign := slices.DeleteFunc(slices.Concat(caches, keys), func(name string) bool { return slices.Contains(known, name) })
	if len(foreign) == 0 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("the run of the manifest trusted %s, which this program does not", strings.Join(foreign, ", ")),
		"if you trust the author of the manifest: --trust; else name what you trust: --substituter URL --trusted-key KEY")
}

// imageOf returns the manifest's image, or this program's own if the manifest has none, or a file that is not here. The
// host engine needs none.
func (o *reproduceOptions) imageOf(m *run.Manifest) (dagger.Image, error) {
	name := dagger.DefaultImage
	for _, cell := range m.Cells {
		if cell.Engine == nil || cell.Engine.Image == "" || strings.HasPrefix(cell.Engine.Image, "sha256:") {
			continue
		}
		if image := cell.Engine.Image; image != dagger.DefaultImage && o.engines.kind != engineHost {
			if !o.trust {
				return dagger.Image{}, hint.Wrap(fmt.Errorf("reproduce: the manifest's run used the image %s, which is not this program's own", image),
					"an image can do anything to the engine; if you trust it: --image %s, or --trust", image)
			}
			name = image
		}
	}
	return dagger.ParseImage(name)
}
