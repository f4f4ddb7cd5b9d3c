package pipelines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Publisher is the cache that consumers use, in the hands of one who may push to it.
// It reads what it pushes from the store that the run exports into. It is safe for concurrent use.
type Publisher interface {
	// Name is the cache's name.
	Name() string
	// Check refuses a right to push that will not do: a wrong key, a token that has expired or may only read.
	// An error with a method Unavailable that returns true says nothing but that the cache did not answer.
	Check(ctx context.Context) error
	// Push makes the objects visible that the cache lacks, each after all that it refers to. Before the first byte it
	// tells agree which of them are there; agree's error ends the push, and is returned as it is.
	// What was pushed is returned beside every error. Progress may be nil.
	Push(ctx context.Context, infos []nix.PathInfo, agree func(there []nix.StorePath) error, progress func(run.PushProgress)) (run.Pushed, error)
	// Preview says what Push would send, and sends nothing. It leaves Unbuilt alone.
	Preview(ctx context.Context, infos []nix.PathInfo) (run.PushPlan, error)
	// AbortUploads aborts uploads that another process has begun, and returns how many of them were open.
	AbortUploads(ctx context.Context, ids []string) (int, error)
	// Pin keeps a store path from the cache's garbage collector under a name.
	Pin(ctx context.Context, name string, path nix.StorePath) error
}

// Consumer is the public side of that cache, as somebody sees it who has it as a substituter.
type Consumer interface {
	Cache
	// Sees returns nil where a consumer would get the object as info has it: its narinfo is there, is signed by a key
	// that consumers trust and has the hash and references of info, and its NAR is there in its size. The error says
	// which of them fails. Of an info without a hash only the path is compared. If fetch, asked with the NAR's size, says
	// yes, the NAR itself is fetched and hashed.
	Sees(ctx context.Context, info nix.PathInfo, fetch func(narBytes int64) bool) error
}

// Publishing says whether a run publishes what it has built, and how.
type Publishing struct {
	// To is nil where nothing is pushed; Without says why.
	To      Publisher
	Without string
	// Always makes an error of everything that keeps a run from pushing.
	Always bool
	// Unsandboxed lets a run push what was built without a sandbox.
	Unsandboxed bool
	// Pin says that the run is a release, which pins its outputs when every cell is published.
	Pin bool
	// Timeout is how long a cell's push may take, and so the pins; 0 is without limit. The journal has what is left then.
	Timeout time.Duration
	// Consumer is asked when all is pushed, for as long as Patience: a cache may serve for a while what it had before.
	Consumer Consumer
	Patience time.Duration
	// Holder is asked for its NAR hashes before a push; nil asks no cache. From has what is pushed.
	Holder run.NARHasher
	From   run.NARSource
	// Journal keeps what is still to be published; nil for none. Resume is the command that goes on with it.
	Journal *Journal
	Resume  string
	// Uploads learns of uploads while they are open; nil for none.
	Uploads *UploadLog
}

// checkTimeout limits the question whether the run may push, with all its attempts. It is asked again after the build.
const checkTimeout = time.Minute

// mayPublish asks once, before anything is built, whether the run may push. A wrong key is found here and not after an hour.
// A cache that does not answer is no reason not to build: it is asked again when there is something to push.
func (r *Release) mayPublish(ctx context.Context, s run.Snapshot) error {
	p := r.Publish
	if p.To == nil {
		if p.Always {
			return &PublishError{Cache: "a cache", Err: errors.New(p.Without)}
		}
		return nil
	}
	if reason := r.withheld(s); reason != "" {
		if p.Always {
			return &PublishError{Cache: p.To.Name(), Err: errors.New(reason)}
		}
		return nil
	}
	return r.Step(ctx, run.StepPreflight, "", func() (string, error) {
		asking, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no answer within %s", checkTimeout))
		defer cancel()
		err := p.To.Check(asking)
		if err != nil && ctx.Err() != nil {
			return "", ctx.Err() // it is the run that has ended: nothing was built that could be good
		}
		if unavailable(err) || err != nil && asking.Err() != nil {
			r.Warn("", "ask cache %s whether this run may push: %v", p.To.Name(), err)
			return "", run.Skipped("the cache does not answer; it is asked again after the build")
		}
		if err != nil {
			return "", &PublishError{Cache: p.To.Name(), Err: err}
		}
		r.abortLeft(ctx)
		return "may push to " + p.To.Name(), nil
	})
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
		return &PublishError{System: cell.System, Cache: r.Publish.To.Name(), Err: hint.Wrap(
			errors.New(writableInputs+" here, so that nothing that is built may be published"), "%s; to build all the same: --push never", buildUsersHint)}
	}
	return &PublishError{System: cell.System, Cache: r.Publish.To.Name(), Err: hint.Wrap(
		errors.New("builders have no sandbox here, so that any of them could take the secret"),
		"run as root, or with Nix's daemon, so that there is a sandbox; or build without the secret and publish with go run ./ci push; "+
			"or, where every builder is trusted, --push-unsandboxed")}
}
