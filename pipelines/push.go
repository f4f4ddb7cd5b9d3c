package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// publish pushes the closure of what a cell has, and confirms that it is where it should be: in the store that the run
// exports into, and where consumers look. Its error is a [*publish.Error], unless the store itself is broken.
func (r *Release) publish(ctx context.Context, s run.Snapshot, cell matrix.Cell, result *run.CellResult, built []nix.PathInfo, added []nix.Added, buildErr error) error {
	if r.Store == nil {
		return nil
	}
	closure, err := r.withServed(ctx, result.Packages, built)
	if err != nil {
		return run.WithCause(ctx, run.StepPush, err)
	}
	pushErr := r.push(ctx, s, cell, result, closure, buildErr)
	if pushErr != nil && ctx.Err() != nil {
		return pushErr // there is no time left to look
	}
	return errors.Join(pushErr, r.confirm(ctx, cell, result, built, added, closure))
}

// withServed adds to what was built the closures of those packages that the store had already. An earlier run may have
// built them without being allowed to push them.
func (r *Release) withServed(ctx context.Context, packages []run.PackageResult, built []nix.PathInfo) ([]nix.PathInfo, error) {
	var roots []nix.StorePath
	for _, p := range packages {
		if p.Verdict == run.Served && p.ServedBy == r.Store.Name() {
			for _, o := range p.Outputs {
				roots = append(roots, o.Path)
			}
		}
	}
	if len(roots) == 0 || r.Publish.To == nil {
		return built, nil
	}
	served, err := r.Store.Closure(ctx, roots)
	return union(built, served), err
}

// union returns the infos of both, each path once, in the order of paths.
func union(a, b []nix.PathInfo) []nix.PathInfo {
	all := append(slices.Clone(a), b...) // where both have a path, a's info comes first, and stays
	slices.SortStableFunc(all, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return slices.CompactFunc(all, func(a, b nix.PathInfo) bool { return a.Path == b.Path })
}

func (r *Release) push(ctx context.Context, s run.Snapshot, cell matrix.Cell, result *run.CellResult, closure []nix.PathInfo, buildErr error) error {
	if r.Publish.To == nil && r.Publish.Disabled == "" {
		return nil // this command never publishes
	}
	return r.Step(ctx, run.StepPush, cell.System, func() (string, error) {
		if verdict, reason := r.blocked(s, result, closure, buildErr); reason != "" {
			result.Publish = &run.PublishResult{Verdict: verdict, Reason: reason}
			if r.Publish.Always {
				return "", &publish.Error{System: cell.System, Cache: "a cache", Err: errors.New(reason)}
			}
			return "", run.Skipped(reason)
		}
		if len(closure) == 0 {
			result.Publish = &run.PublishResult{Verdict: run.Published, Cache: r.Publish.To.Name()}
			return "", run.Skipped("nothing new")
		}
		done, err := r.Publish.Push(ctx, cell.System, closure)
		result.Publish = &done
		return done.String(), err
	})
}

// blocked returns why a cell must not be published, and the verdict for it; both are empty if it may be.
func (r *Release) blocked(s run.Snapshot, result *run.CellResult, closure []nix.PathInfo, buildErr error) (run.PublishVerdict, string) {
	if r.Publish.To == nil {
		return run.NotWanted, r.Publish.Disabled
	}
	if reason := r.withheld(s); reason != "" {
		return run.Withheld, reason
	}
	const anyway = " (--rebuild=warn publishes it all the same)"
	var contractErr *ContractError
	var rebuildErr *RebuildError
	objections, unreadable := r.objections(result, closure)
	differs := slices.ContainsFunc(result.Packages, func(p run.PackageResult) bool { return p.Reproducible() == run.Bad })
	built := slices.ContainsFunc(result.Packages, func(p run.PackageResult) bool { return p.Verdict == run.Built || p.Verdict == run.Present })
	switch {
	case unreadable != nil:
		return run.Withheld, unreadable.Error()
	case errors.As(buildErr, &contractErr):
		return run.Withheld, "the flake does not satisfy its contract"
	case errors.As(buildErr, &rebuildErr), differs && !r.Publish.Different:
		return run.Withheld, "a second build was not the same" + anyway
	case objections[publish.Different] != "" && !r.Publish.Different:
		return run.Withheld, fmt.Sprintf("a second build of %s was not the same%s", objections[publish.Different], anyway)
	case result.WritableInputs, objections[publish.Writable] != "":
		return run.Withheld, fmt.Sprintf("%s%s, because there are no build users: what it was built from may not be what it should be",
			writableInputs, strings.Join(result.MachinesWithWritableInputs(), " and"))
	case (result.Sandbox != nil && !*result.Sandbox || objections[publish.Unsandboxed] != "") && !r.Publish.Unsandboxed:
		return run.Withheld, fmt.Sprintf("it was built without a sandbox%s: another build would not be the same (--push-unsandboxed publishes it all the same)",
			strings.Join(result.UnsandboxedMachines(), " and"))
	case built && r.noSecondBuild(result) != "":
		return run.Withheld, r.noSecondBuild(result) + " (--rebuild=off publishes it all the same)"
	}
	return "", ""
}

// objections returns, for each objection of the record, an object of a cell that it is about. Objects that Nix has fetched
// are what consumers have anyway. The error says that the record of an object cannot be read.
func (r *Release) objections(result *run.CellResult, closure []nix.PathInfo) (found map[*publish.Objection]nix.StorePath, unreadable error) {
	own := map[nix.StorePath]bool{}
	for _, info := range closure {
		own[info.Path] = !publish.IsFetched(info)
	}
	for _, p := range result.Packages {
		for _, path := range p.OutputPaths() {
			own[path] = p.Verdict != run.Substituted
		}
	}
	found = map[*publish.Objection]nix.StorePath{}
	for _, path := range slices.Sorted(maps.Keys(own)) {
		if !own[path] {
			continue
		}
		o, _ := r.Record.Object(path)
		if o.Unreadable != nil {
			return nil, o.Unreadable
		}
		for _, objection := range publish.Objections {
			if objection.Is(o) {
				found[objection] = path
			}
		}
	}
	return found, nil
}
