package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// recordPlanned records before a build that its outputs may be built without a sandbox: a killed run leaves outputs in
// the engine's store, and a later run must not trust them. [Release.recordSandbox] records the rest after the build. A
// fixed output depends only on its hash.
func (c *cell) recordPlanned(known map[nix.StorePath]nix.Derivation) error {
	sandbox := c.probed.weakest()
	if !sandbox.IsOff() {
		return nil
	}
	var outputs []nix.StorePath
	for _, drv := range c.plan.Build {
		d, ok := known[drv]
		if !ok {
			return fmt.Errorf("record that there is no sandbox: the outputs of %s are not known", drv)
		}
		if !d.Fixed {
			outputs = append(outputs, d.Outputs...)
		}
	}
	return c.Record.Change(outputs, func(o *record.Object) {
		if o.Sandbox != record.WritableInputs {
			o.Sandbox = sandbox
		}
	})
}

// suspects are inputs of packages that the record objects to.
type suspects struct {
	inputs  []nix.StorePath // all inputs: derivations, and those of their outputs that the store has
	objects map[nix.StorePath]record.Object
	infos   []nix.PathInfo // of those that Nix has not fetched from a cache
}

// distrustInputs records the objections to an input for each output in the store, too, that was built with it. So every
// command that asks the record about an output learns about its inputs.
func (c *cell) distrustInputs(ctx context.Context, paths []nix.StorePath) error {
	s := suspects{inputs: paths, objects: map[nix.StorePath]record.Object{}}
	var found []nix.StorePath
	for _, path := range paths {
		o, _ := c.Record.Object(path)
		if o.Unreadable != nil {
			return o.Unreadable
		}
		if publish.ObjectionTo(o, publish.Consent{}) != nil {
			s.objects[path] = o
			found = append(found, path)
		}
	}
	for some := range slices.Chunk(found, verifiedAtOnce) {
		infos, err := c.pathInfo(ctx, some)
		if err != nil {
			return fmt.Errorf("look up build inputs: %w", err)
		}
		s.infos = append(s.infos, slices.DeleteFunc(infos, publish.IsFetched)...)
	}
	for _, objection := range publish.Objections {
		if err := c.distrust(ctx, s, objection); err != nil {
			return fmt.Errorf("record what build inputs are used for: %w", err)
		}
	}
	return nil
}

// distrust records one objection for everything that was built with the inputs that it is about.
func (c *cell) distrust(ctx context.Context, s suspects, objection *publish.Objection) error {
	infos := slices.DeleteFunc(slices.Clone(s.infos), func(info nix.PathInfo) bool { return !objection.Is(s.objects[info.Path]) })
	if len(infos) == 0 {
		return nil
	}
	outputs, err := c.builtWith(ctx, s.inputs, infos)
	if err != nil {
		return err
	}
	var changed []nix.StorePath
	err = c.Record.Change(outputs, func(o *record.Object) {
		if !objection.Is(*o) {
			objection.Apply(o)
			if objection.Is(*o) {
				changed = append(changed, o.Path)
			}
		}
	})
	if err == nil && len(changed) > 0 {
		c.Advise(c.System, "to build them again: nix-store --delete "+string(infos[0].Path)+" "+string(changed[0]),
			"%s %s; so %s that is built with it counts as such, like %s", infos[0].Path, objection.Text, run.Count(len(changed), "output"), changed[0])
	}
	return err
}

// builtWith returns the outputs among paths whose derivations need one of the objects, the objects included. If the
// derivation of an object is unknown, all need it. A fixed output depends only on its hash.
func (c *cell) builtWith(ctx context.Context, paths []nix.StorePath, objects []nix.PathInfo) (outputs []nix.StorePath, err error) {
	listed := nix.PathSet(paths)
	needing := paths
	if !slices.ContainsFunc(objects, func(o nix.PathInfo) bool { return !listed[o.Deriver] }) {
		var derivers []nix.StorePath
		for _, o := range objects {
			derivers = append(derivers, o.Deriver)
		}
		if needing, err = c.query(ctx, nix.SortedPaths(derivers), "--query", "--referrers-closure"); err != nil {
			return nil, err
		}
	}
	drvs := slices.DeleteFunc(nix.SortedPaths(needing), func(p nix.StorePath) bool { return !listed[p] || !p.IsDerivation() })
	known := c.derivations(ctx, drvs)
	for _, drv := range drvs {
		d, ok := known[drv]
		if !ok {
			return nil, hint.Wrap(fmt.Errorf("the outputs of %s are not known", drv), "run the command again")
		}
		for _, path := range d.Outputs {
			if listed[path] && !d.Fixed {
				outputs = append(outputs, path)
			}
		}
	}
	return outputs, nil
}
