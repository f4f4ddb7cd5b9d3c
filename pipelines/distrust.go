package pipelines

import (
	"context"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// recordPlanned records, before a build begins, that what is to be built may be built without a sandbox. A run that is
// killed leaves outputs in the engine's store, and a later one must not take them for good. [Release.recordSandbox] records
// the rest when it is known which machine has built what. A fixed output is what its hash says, whoever builds it.
func (r *Release) recordPlanned(plan run.Plan, known map[nix.StorePath]nix.Derivation, p probed) error {
	sandbox := p.weakest()
	if !sandbox.IsOff() {
		return nil
	}
	var outputs []nix.StorePath
	for _, drv := range plan.Build {
		d, ok := known[drv]
		if !ok {
			return fmt.Errorf("record that there is no sandbox: the outputs of %s are not known", drv)
		}
		if !d.Fixed {
			outputs = append(outputs, d.Outputs...)
		}
	}
	return r.Record.Change(outputs, func(o *record.Object) {
		if o.Sandbox != record.WritableInputs {
			o.Sandbox = sandbox
		}
	})
}

// inputs are what packages may have been built from: derivations, and those of their outputs that the store has.
type inputs struct {
	system  matrix.System
	paths   []nix.StorePath
	objects map[nix.StorePath]record.Object // of those paths that the record has a reason against
	infos   []nix.PathInfo                  // of objects that Nix has not fetched from a cache
}

// distrustInputs records that the reasons against an input count for each output too that the store has and that is built
// with it. So every command that asks the record before it publishes an output knows of its inputs.
func (r *Release) distrustInputs(ctx context.Context, x engine.Executor, system matrix.System, paths []nix.StorePath) error {
	in := inputs{system: system, paths: paths, objects: map[nix.StorePath]record.Object{}}
	var suspects []nix.StorePath
	for _, path := range paths {
		o, _ := r.Record.Object(path)
		if o.Unreadable != nil {
			return o.Unreadable
		}
		if publish.ObjectionTo(o, publish.Consent{}) != nil {
			in.objects[path] = o
			suspects = append(suspects, path)
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	e, err := x.Describe(ctx)
	if err != nil {
		return err
	}
	if in.infos, err = r.builtHere(ctx, x, e, suspects); err != nil {
		return fmt.Errorf("look up build inputs: %w", err)
	}
	for _, objection := range publish.Objections {
		if err := r.distrust(ctx, x, e, in, objection); err != nil {
			return fmt.Errorf("record what build inputs are used for: %w", err)
		}
	}
	return nil
}

// builtHere returns what Nix knows of those of the paths that it has not fetched from a cache.
func (r *Release) builtHere(ctx context.Context, x engine.Executor, e engine.Engine, paths []nix.StorePath) (built []nix.PathInfo, err error) {
	for some := range slices.Chunk(paths, verifiedAtOnce) {
		out, err := x.Run(ctx, engine.Command{Program: "nix", Args: append(nix.PathInfoArgs(e.Nix), words(some)...), Settings: r.Settings})
		if err != nil {
			return nil, err
		}
		infos, err := nix.ParsePathInfo(out)
		if err != nil {
			return nil, err
		}
		built = append(built, slices.DeleteFunc(infos, publish.IsFetched)...)
	}
	return built, nil
}

// distrust applies one reason to all that is built with the inputs that it is true of.
func (r *Release) distrust(ctx context.Context, x engine.Executor, e engine.Engine, in inputs, why *publish.Objection) error {
	infos := slices.DeleteFunc(slices.Clone(in.infos), func(info nix.PathInfo) bool { return !why.Is(in.objects[info.Path]) })
	if len(infos) == 0 {
		return nil
	}
	outputs, err := r.builtWith(ctx, x, e, in.paths, infos)
	if err != nil {
		return err
	}
	var changed []nix.StorePath
	err = r.Record.Change(outputs, func(o *record.Object) {
		if !why.Is(*o) {
			why.Apply(o)
			if why.Is(*o) {
				changed = append(changed, o.Path)
			}
		}
	})
	if err == nil && len(changed) > 0 {
		r.Event(run.Notice{
			System: in.system, Level: run.Warning,
			Text: fmt.Sprintf("%s %s; so %s that is built with it counts as such, like %s", infos[0].Path, why.Text, run.Count(len(changed), "output"), changed[0]),
			Hint: "to build them again: nix-store --delete " + string(infos[0].Path) + " " + string(changed[0]),
		})
	}
	return err
}

// builtWith returns the outputs among paths whose derivations need one of the objects, the objects included. If it is not
// known which derivation has made an object, all need it. A fixed output is what its hash says, whatever it is built with.
func (r *Release) builtWith(ctx context.Context, x engine.Executor, e engine.Engine, paths []nix.StorePath, objects []nix.PathInfo) (outputs []nix.StorePath, err error) {
	listed := map[nix.StorePath]bool{}
	for _, path := range paths {
		listed[path] = true
	}
	needing := paths
	if !slices.ContainsFunc(objects, func(o nix.PathInfo) bool { return !listed[o.Deriver] }) {
		var derivers []nix.StorePath
		for _, o := range objects {
			derivers = append(derivers, o.Deriver)
		}
		if needing, err = r.queryPaths(ctx, x, append([]string{"--query", "--referrers-closure"}, words(nix.SortedPaths(derivers))...)); err != nil {
			return nil, err
		}
	}
	drvs := slices.DeleteFunc(nix.SortedPaths(needing), func(p nix.StorePath) bool { return !listed[p] || !p.IsDerivation() })
	known := r.derivations(ctx, x, e, drvs)
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
