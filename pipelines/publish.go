package pipelines

import (
	"context"
	"errors"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// checkAccess tests once, before anything is built, whether the run may push.
func (r *Release) checkAccess(ctx context.Context, s run.Snapshot) error {
	reason := r.Publish.Disabled
	if r.Publish.To != nil {
		if reason = r.withheld(s); reason == "" {
			return r.Publish.CheckAccess(ctx)
		}
	}
	if r.Publish.Always {
		return r.Publish.Error("", errors.New(reason))
	}
	return nil
}

// withheld says why what is built of a snapshot is never published; empty where it may be.
func (r *Release) withheld(s run.Snapshot) string {
	switch {
	case s.Dirty:
		return "the tree has uncommitted changes: no consumer evaluates it"
	case len(r.Overrides) > 0:
		return "an input is overridden: no consumer evaluates that"
	}
	return unlocked(s)
}

// guardSecret refuses to build where a builder could take the right to push: one that has no sandbox, on the machine of
// this process, finds it in the memory of this process or in the environment of the shell that has started it.
func (r *Release) guardSecret(cell matrix.Cell, e engine.Engine, p probed) error {
	here := p.here() // a remote builder does not see the memory of this process
	if r.Publish.To == nil || e.Kind != "host" || here == nil || here.Sandboxed() || r.Publish.Unsandboxed && !here.WritableInputs {
		return nil
	}
	if here.WritableInputs {
		return r.Publish.Error(cell.System, hint.Wrap(
			errors.New(writableInputs+" here, so that nothing that is built may be published"), "%s; to build all the same: --push never", buildUsersHint))
	}
	return r.Publish.Error(cell.System, hint.Wrap(
		errors.New("builders have no sandbox here, so that any of them could take the secret"),
		"run as root, or with Nix's daemon, so that there is a sandbox; or build without the secret and publish with go run ./ci push; "+
			"or, where every builder is trusted, --push-unsandboxed"))
}
