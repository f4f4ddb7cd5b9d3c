package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// publish pushes the closure of what a cell has, and confirms that it is where it should be: in the store that the run
// exports into, and where consumers look. Its error is a [*PublishError], unless the store itself is broken.
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
	p := r.Publish
	if p.To == nil && p.Without == "" {
		return nil // this command never publishes
	}
	return r.Step(ctx, run.StepPush, cell.System, func() (string, error) {
		if verdict, reason := r.withholds(s, result, closure, buildErr); reason != "" {
			result.Publish = &run.PublishResult{Verdict: verdict, Reason: reason}
			if p.Always {
				return "", &PublishError{System: cell.System, Cache: "a cache", Err: errors.New(reason)}
			}
			return "", run.Skipped(reason)
		}
		if len(closure) == 0 {
			result.Publish = &run.PublishResult{Verdict: run.Published, Cache: p.To.Name()}
			return "", run.Skipped("nothing new")
		}
		done, _, err := r.upload(ctx, cell.System, closure, allHeld)
		result.Publish = &done
		if isConflict(err) {
			return "", err
		}
		if err != nil {
			return "", &PublishError{System: cell.System, Cache: p.To.Name(), Err: r.resumable(err)}
		}
		return done.String(), nil
	})
}

// withholds says why a cell is not published, and in one word what that is; both are empty where it is.
func (r *Release) withholds(s run.Snapshot, result *run.CellResult, closure []nix.PathInfo, buildErr error) (run.PublishVerdict, string) {
	if r.Publish.To == nil {
		return run.NotWanted, r.Publish.Without
	}
	if reason := r.withheld(s); reason != "" {
		return run.Withheld, reason
	}
	var broken *ContractError
	differs := slices.ContainsFunc(result.Packages, func(p run.PackageResult) bool { return p.Reproducible() == run.Bad })
	built := slices.ContainsFunc(result.Packages, func(p run.PackageResult) bool { return p.Verdict == run.Built || p.Verdict == run.Present })
	switch {
	case r.unreadable(closure) != nil:
		return run.Withheld, r.unreadable(closure).Error()
	case errors.As(buildErr, &broken):
		return run.Withheld, "the flake does not satisfy its contract"
	case isRebuildError(buildErr), differs && !r.Rebuild.WarnOnly:
		return run.Withheld, "a second build was not the same (--rebuild=warn publishes it all the same)"
	case r.differed(closure) != "" && !r.Rebuild.WarnOnly:
		return run.Withheld, fmt.Sprintf("a second build of %s was not the same (--rebuild=warn publishes it all the same)", r.differed(closure))
	case r.writableInputs(result, closure):
		return run.Withheld, fmt.Sprintf("%s%s, because there are no build users: what it was built from may not be what it should be",
			writableInputs, strings.Join(result.MachinesWithWritableInputs(), " and"))
	case r.unsandboxed(result, closure) && !r.Publish.Unsandboxed:
		return run.Withheld, fmt.Sprintf("it was built without a sandbox%s: another build would not be the same (--push-unsandboxed publishes it all the same)",
			strings.Join(result.UnsandboxedMachines(), " and"))
	case built && r.noSecondBuild(result) != "":
		return run.Withheld, r.noSecondBuild(result) + " (--rebuild=off publishes it all the same)"
	}
	return "", ""
}

// upload notes in the journal what is to go up, and pushes it. The note is taken back when all is there:
// whatever ends the run before that, a later one goes on from it. Compared says what of it the cache must not have otherwise.
func (r *Release) upload(ctx context.Context, system matrix.System, closure []nix.PathInfo, compared choice) (run.PublishResult, []nix.Added, error) {
	p, started := r.Publish, r.Now()
	done := run.PublishResult{Verdict: run.Unpublished, Cache: p.To.Name(), Left: len(closure)}
	entry := JournalEntry{
		System: system, Cache: p.To.Name(), Paths: pathsOf(closure),
		Consent: Consent{Unsandboxed: p.Unsandboxed, Different: r.Rebuild.WarnOnly},
	}
	if err := p.Journal.Add(entry); err != nil {
		return done, nil, err
	}
	ctx, stop := WithTimeout(ctx, p.Timeout, "push-timeout")
	defer stop()
	agree := func(there []nix.StorePath) error { return r.agreeWithPublic(ctx, system, compared(closure, there)) }
	pushed, err := p.To.Push(ctx, closure, agree, func(n run.PushProgress) { r.Event(run.Uploaded{System: system, PushProgress: n}) })
	if err := p.Uploads.Settle(); err != nil {
		r.Warn(system, "%v", err)
	}
	done.Count(pushed)
	done.Seconds = run.Seconds(r.Now().Sub(started))
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		// To try once more changes nothing: somebody has to look into it.
		done.Verdict, done.Left, done.Conflicts, done.Reason = run.Withheld, 0, conflict.Conflicts, nix.FirstLine(err.Error())
		return done, pushed.Added, errors.Join(err, p.Journal.Done(entry))
	}
	if err != nil {
		done.Reason = nix.FirstLine(err.Error())
		return done, pushed.Added, err
	}
	done.Verdict = run.Published
	return done, pushed.Added, p.Journal.Done(entry)
}

// resumable tells how to go on with a push that did not come to its end.
func (r *Release) resumable(err error) error {
	if r.Publish.Journal == nil {
		return err
	}
	return hint.Wrap(err, "what was built is good and in %s; publish the rest, when the cache answers: %s", r.Store.Name(), r.Publish.Resume)
}
