package publish

import (
	"context"
	"errors"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Push pushes the closure of a cell. The result is valid even with an error, which is a [*ConflictError] or an
// [*Error].
func (p *Publisher) Push(ctx context.Context, system matrix.System, closure []nix.PathInfo) (run.PublishResult, error) {
	done, _, err := p.push(ctx, system, closure, allPresent)
	return done, err
}

// PushOnly pushes store objects that no step of this run has built, and confirms them. It returns the objects that it
// has made visible, even with an error.
func (p *Publisher) PushOnly(ctx context.Context, infos []nix.PathInfo) (added []nix.Added, err error) {
	var done run.PublishResult
	err = p.Step(ctx, run.StepPush, "", func() (string, error) {
		var err error
		done, added, err = p.push(ctx, "", infos, presentRoots)
		if ctx.Err() == nil && !isUnavailable(err) {
			p.abortLeft(ctx)
		}
		return done.String(), err
	})
	if err != nil || !p.Confirm || len(infos) == 0 {
		return added, err
	}
	return added, p.Step(ctx, run.StepConfirm, "", func() (string, error) {
		c := newConfirmation("", rootsOf(infos), done.AddedPaths, infos)
		err := p.confirm(ctx, c)
		return c.String(), err
	})
}

// push lists the objects in the journal and pushes them. It removes the entry when all objects are visible, so that a
// later run can continue after any interruption. Compared selects the objects that have to be equal to those of the cache.
func (p *Publisher) push(ctx context.Context, system matrix.System, infos []nix.PathInfo, compared selector) (run.PublishResult, []nix.Added, error) {
	started := p.Now()
	done := run.PublishResult{Verdict: run.Unpublished, Cache: p.To.Name(), Left: len(infos)}
	entry := JournalEntry{System: system, Cache: p.To.Name(), Paths: nix.PathsOf(infos), Consent: p.Consent}
	if err := p.Journal.Add(entry); err != nil {
		return done, nil, p.resumable(system, err)
	}
	added, err := p.send(ctx, system, infos, compared, &done)
	done.Seconds = run.Seconds(p.Now().Sub(started))
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict): // another attempt would have the same result
		done.Verdict, done.Left, done.Conflicts, done.Reason = run.Withheld, 0, conflict.Conflicts, nix.FirstLine(err.Error())
		return done, added, errors.Join(err, p.Journal.Done(entry))
	case err != nil:
		done.Reason = nix.FirstLine(err.Error())
		return done, added, p.resumable(system, err)
	}
	done.Verdict = run.Published
	if err := p.Journal.Done(entry); err != nil {
		return done, added, p.resumable(system, err)
	}
	return done, added, nil
}

// send plans the push, compares, and pushes.
func (p *Publisher) send(ctx context.Context, system matrix.System, infos []nix.PathInfo, compared selector, done *run.PublishResult) ([]nix.Added, error) {
	ctx, stop := run.WithTimeout(ctx, p.Timeout, "push-timeout")
	defer stop()
	plan, err := p.To.Plan(ctx, infos)
	if err != nil {
		return nil, err
	}
	if err := p.checkConflicts(ctx, system, compared(infos, plan.There)); err != nil {
		return nil, err
	}
	pushed, err := p.To.Push(ctx, plan, p.Uploads, func(n run.PushProgress) { p.Event(run.Uploaded{System: system, PushProgress: n}) })
	if err := p.Uploads.RemoveIfEnded(); err != nil {
		p.Warn(system, "%v", err)
	}
	done.Count(pushed)
	return pushed.Added, err
}

// resumable adds to a failed push the command that continues it.
func (p *Publisher) resumable(system matrix.System, err error) error {
	if p.Journal != nil {
		err = hint.Wrap(err, "what was built is good and in %s; publish the rest, when the cache answers: %s", p.Journal.Results(), p.Resume)
	}
	return p.Error(system, err)
}

// Preview returns what a push would send. Unbuilt counts outputs whose closures are not known yet.
func (p *Publisher) Preview(ctx context.Context, infos []nix.PathInfo, unbuilt int) (*run.PushPlan, error) {
	plan, err := p.To.Plan(ctx, infos)
	if err != nil {
		return nil, err
	}
	return &run.PushPlan{
		Cache: p.To.Name(), Push: nix.PathsOf(plan.Push), Bytes: plan.Bytes, There: len(plan.There), Upstream: len(plan.Upstream), Unbuilt: unbuilt,
	}, nil
}
