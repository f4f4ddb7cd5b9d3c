package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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

// reproduceOptions makes of a manifest the command line that would do the same.
func (f *reproduceFlags) reproduceOptions(c *cobra.Command, sys process, file string, m *run.Manifest) (options, error) {
	f.stall, f.contract = 0, warn
	if m.Source.URL == "" || len(m.Cells) == 0 {
		return options{}, errors.New("reproduce: the manifest names no source, or no system")
	}
	f.packages = nil
	runID := newRunID(sys.clock()())
	o := options{
		project: defaultProject, outputOptions: f.outputOptions,
		run: runID, out: regular.NewDir(cmp.Or(f.out, filepath.Join("reproduced", runID))), outGiven: true,
	}
	if dir := filepath.Dir(file); isFile(filepath.Join(dir, "cache", "nix-cache-info")) {
		o.otherResults = append(o.otherResults, dir) // the run of the manifest has left its results there
	}
	if f.out == "" {
		o.otherResults = append(o.otherResults, filepath.Dir(o.out.Name())) // which may hold those of several runs
	}
	if m.Source.URL == exampleFlake {
		o.project = exampleProject
	}
	if f.memlock != "" {
		n, err := project.ParseSize(f.memlock)
		if err != nil {
			return o, usage(err)
		}
		o.project.Memlock = n
	}
	imageGiven := c.Flags().Changed("image")
	if !imageGiven {
		f.imageText = dagger.DefaultImage
	}
	trusted := o.project // before the manifest has a say in it
	o.project.Flake = cmp.Or(f.source, m.Source.URL)
	if err := errors.Join(f.cellsOf(m, &o), f.parseEngine(&o), f.parseContract(&o)); err != nil {
		return o, usage(err)
	}
	if len(m.Contract) == 0 && !slices.ContainsFunc(m.Cells, func(c run.CellResult) bool { return len(c.Contract) > 0 }) {
		o.contract.Contract, o.contract.Without = nil, "the run of the manifest checked no contract"
	}
	if err := f.overridesOf(m, &o); err != nil {
		return o, usage(err)
	}
	if err := f.trustedOf(m.Settings, trusted, &o); err != nil {
		return o, err
	}
	if !imageGiven {
		if err := f.imageOf(m, &o); err != nil {
			return o, err
		}
	}
	o.rebuild = pipelines.Rebuilding{WarnOnly: true, Fetched: true, NotBuilt: !differed(m), Apart: apart}
	return o, nil
}

// differed says whether a second build in the run of the manifest came out differently: to see that again takes two
// builds here.
func differed(m *run.Manifest) bool {
	return slices.ContainsFunc(m.Cells, func(c run.CellResult) bool {
		return slices.ContainsFunc(c.Packages, func(p run.PackageResult) bool { return p.Difference != nil })
	})
}

// cellsOf are those of the manifest's systems that were asked for, with its packages.
func (f *reproduceFlags) cellsOf(m *run.Manifest, o *options) error {
	for _, name := range f.systems {
		system, err := matrix.ParseSystem(name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(m.Cells, func(c run.CellResult) bool { return c.System == system }) {
			return fmt.Errorf("parse --system %s: the manifest has none of it", name)
		}
	}
	for _, cell := range m.Cells {
		if len(f.systems) > 0 && !slices.Contains(f.systems, string(cell.System)) {
			continue
		}
		var packages []matrix.Package
		for _, p := range cell.Packages {
			packages = append(packages, p.Package)
		}
		o.cells = append(o.cells, matrix.Cell{System: cell.System, Packages: packages})
		o.project.Packages = packages
	}
	return nil
}

// overridesOf takes the flakes that the run has put in the place of inputs. One that was a directory is named on the
// command line, and has to be the same tree: the file that a stranger wrote must not choose what of this machine the
// flake gets to see.
func (f *reproduceFlags) overridesOf(m *run.Manifest, o *options) error {
	if err := f.parseOverrides(o); err != nil {
		return err
	}
	given := o.overrides
	o.overrides = nil
	for _, input := range slices.Sorted(maps.Keys(m.Source.Overrides)) {
		ref, err := flake.ParseRef(m.Source.Overrides[input])
		if err != nil {
			return fmt.Errorf("read override of input %s in the manifest: %v", input, err)
		}
		v := override{input: input, flake: m.Source.Overrides[input]}
		if ref.IsLocal() {
			i := slices.IndexFunc(given, func(v override) bool { return v.input == input })
			if i < 0 {
				return hint.Wrap(fmt.Errorf("reproduce: the run has put a directory in the place of input %s", input),
					"name the directory that has the same tree: --override-input %s=DIR", input)
			}
			if ref.NARHash == "" {
				return fmt.Errorf("reproduce: the manifest does not say which tree was in the place of input %s", input)
			}
			v.flake, v.narHash = given[i].flake, ref.NARHash
			given = slices.Delete(given, i, i+1)
		}
		o.overrides = append(o.overrides, v)
	}
	if len(given) > 0 {
		return fmt.Errorf("parse --override-input %s: the run of the manifest has put no directory in its place", given[0].input)
	}
	return nil
}

// trustedOf takes the manifest's caches and keys, as far as this program or the command line names them too: whoever has a
// trusted key can put anything into the store under any path.
func (f *reproduceFlags) trustedOf(settings nix.Settings, t project.Project, o *options) error {
	caches, keys := strings.Fields(settings["substituters"]), strings.Fields(settings["trusted-public-keys"])
	known := slices.Concat(t.Substituters, t.TrustedKeys, defaultProject.Substituters, defaultProject.TrustedKeys, f.substituters, f.keys)
	var foreign []string
	for _, name := range slices.Concat(caches, keys) {
		if !f.trust && !slices.Contains(known, name) {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 {
		return hint.Wrap(fmt.Errorf("the run of the manifest has trusted %s, which this program does not", strings.Join(foreign, ", ")),
			"where you trust who has written the manifest: --trust; else name what you trust: --substituter URL --trusted-key KEY")
	}
	o.project.Substituters, o.project.TrustedKeys = caches, keys
	return nil
}

// imageOf takes the manifest's image. The host engine needs none, so it does not matter there.
func (f *reproduceFlags) imageOf(m *run.Manifest, o *options) (err error) {
	for _, cell := range m.Cells {
		if cell.Engine == nil || cell.Engine.Image == "" || strings.HasPrefix(cell.Engine.Image, "sha256:") {
			continue // a file, which is not here: another image will do
		}
		if name := cell.Engine.Image; name != dagger.DefaultImage && o.engines.kind != engineHost {
			if !f.trust {
				return hint.Wrap(fmt.Errorf("reproduce: the run of the manifest was made in image %s, which is not this program's own", name),
					"an image may do anything to the engine; where you trust it: --image %s, or --trust", name)
			}
			o.image, err = dagger.ParseImage(name)
		}
	}
	return err
}
