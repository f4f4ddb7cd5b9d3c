package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// checkAccess tests before anything is built whether the run may push.
func (r *Release) checkAccess(ctx context.Context, s run.Snapshot) error {
	reason := r.Publish.Disabled
	if r.Publish.To != nil {
		if reason = r.neverPublished(s); reason == "" {
			return r.Publish.CheckAccess(ctx)
		}
	}
	if r.Publish.Always {
		return r.Publish.Error("", errors.New(reason))
	}
	return nil
}

// neverPublished returns why nothing from a snapshot is published; empty if it may be.
func (j *Job) neverPublished(s run.Snapshot) string {
	return cmp.Or(notConsumed(s, len(j.Overrides)), unlocked(s))
}

// notConsumed returns why no consumer evaluates a tree; empty if one may.
func notConsumed(s run.Snapshot, overrides int) string {
	switch {
	case s.Dirty:
		return "the tree has uncommitted changes: no consumer evaluates it"
	case overrides > 0:
		return "an input is overridden: no consumer evaluates that"
	case s.Rev == "" && strings.HasPrefix(s.URL, "path:"):
		return "the tree is a directory of a machine, of no commit: no consumer can lock it"
	}
	return ""
}

// requireSandboxForSecret refuses to build beside the credential without a sandbox on the machine of this process: a
// builder could find it in the memory of this process, or in the environment of the shell that started it.
func (r *Release) requireSandboxForSecret(c *cell) error {
	here := c.probed.here() // a remote builder does not see the memory of this process
	if r.Publish.To == nil || c.engine.Kind != "host" || here == nil || here.Sandboxed() || r.Publish.Unsandboxed && !here.WritableInputs {
		return nil
	}
	if here.WritableInputs {
		return r.Publish.Error(c.System, hint.Wrap(
			errors.New(writableInputs+" here, so that nothing that is built may be published"), "%s; to build all the same: --push never", buildUsersHint))
	}
	return r.Publish.Error(c.System, hint.Wrap(
		errors.New("builders have no sandbox here, so that any of them could take the secret"),
		"run as root, or with Nix's daemon, so that there is a sandbox; or build without the secret in the environment; "+
			"or, where every builder is trusted, --push-unsandboxed"))
}

// publish pushes the closure of a cell, and confirms that the store and consumers of the cache have it. The error is a
// [*publish.Error], unless the store is damaged.
func (r *Release) publish(ctx context.Context, c *cell, buildErr error) error {
	if r.Store == nil {
		return nil
	}
	closure, err := r.withCached(ctx, c)
	if err != nil {
		return run.WithCause(ctx, run.StepPush, err)
	}
	pushErr := r.push(ctx, c, closure, buildErr)
	if pushErr != nil && ctx.Err() != nil {
		return pushErr
	}
	return errors.Join(pushErr, r.confirm(ctx, c, closure))
}

// withCached adds the closures of packages that the store had already to what was built: an earlier run may have built
// them without pushing them.
func (r *Release) withCached(ctx context.Context, c *cell) ([]nix.PathInfo, error) {
	var roots []nix.StorePath
	for _, p := range c.result.Packages {
		if p.Verdict == run.Served && p.ServedBy == r.Store.Name() {
			roots = append(roots, p.OutputPaths()...)
		}
	}
	if len(roots) == 0 || r.Publish.To == nil {
		return c.closure, nil
	}
	cached, err := r.Store.Closure(ctx, roots)
	return union(c.closure, cached), err
}

// push pushes a closure, unless the cell must not be published.
func (r *Release) push(ctx context.Context, c *cell, closure []nix.PathInfo, buildErr error) error {
	if r.Publish.To == nil && r.Publish.Disabled == "" {
		return nil // this command never publishes
	}
	return r.Step(ctx, run.StepPush, c.System, func() (string, error) {
		verdict, reason := r.blocked(c, closure, buildErr)
		return pushCell(ctx, &r.Publish, &c.result, closure, verdict, reason)
	})
}

// pushCell pushes the closure of a cell, unless there is a reason against it.
func pushCell(ctx context.Context, to *publish.Publisher, c *run.CellResult, closure []nix.PathInfo, verdict run.PublishVerdict, reason string) (string, error) {
	if reason != "" {
		c.Publish = &run.PublishResult{Verdict: verdict, Reason: reason}
		if to.Always {
			return "", &publish.Error{System: c.System, Cache: "a cache", Err: errors.New(reason)}
		}
		return "", run.Skipped(reason)
	}
	if len(closure) == 0 {
		c.Publish = &run.PublishResult{Verdict: run.Published, Cache: to.To.Name()}
		return "", run.Skipped("nothing new")
	}
	done, err := to.Push(ctx, c.System, closure)
	c.Publish = &done
	return done.String(), err
}

// blocked returns why a cell must not be published, and the verdict for it; both are empty if it may be.
func (r *Release) blocked(c *cell, closure []nix.PathInfo, buildErr error) (run.PublishVerdict, string) {
	result := &c.result
	if r.Publish.To == nil {
		return run.NotWanted, r.Publish.Disabled
	}
	if reason := r.neverPublished(c.snapshot); reason != "" {
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
