package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
	Push(ctx context.Context, infos []nix.PathInfo, agree func(there []nix.StorePath) error, progress func(Pushing)) (Pushed, error)
	// Preview says what Push would send, and sends nothing. It leaves Unbuilt alone.
	Preview(ctx context.Context, infos []nix.PathInfo) (PushPlan, error)
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
	// Holder is asked, before anything is pushed, what it has under the paths; nil for nobody. From has what is pushed.
	Holder Holder
	From   Dumper
	// Journal keeps what is still to be published; nil for none. Resume is the command that goes on with it.
	Journal *Journal
	Resume  string
	// Uploads learns of uploads while they are open; nil for none.
	Uploads *UploadLog
}

// Pushing is how far a push is.
type Pushing struct {
	Paths   int   `json:"paths"` // that are visible
	OfPaths int   `json:"ofPaths"`
	Bytes   int64 `json:"bytes"` // of NARs, read
	OfBytes int64 `json:"ofBytes"`
	Sent    int64 `json:"sent"` // compressed bytes that the cache has taken
}

// Pushed is what came of a push.
type Pushed struct {
	Added []nix.Added
	// There counts the paths that the cache had, Upstream those that consumers get from another cache.
	There, Upstream int
	// Left is what should have been pushed and was not.
	Left []nix.StorePath
}

// PublishResult is what came of publishing a cell.
type PublishResult struct {
	Verdict PublishVerdict `json:"verdict"`
	Cache   string         `json:"cache,omitempty"`
	// Reason is why nothing, or not all, was published.
	Reason string `json:"reason,omitempty"`
	// Added counts the store objects that the run has made visible, There those that the cache had,
	// Upstream those that consumers get from another cache, Left those that are still to be published.
	Added    int `json:"added"`
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	Left     int `json:"left,omitempty"`
	// NARBytes is the size of what was added, FileBytes what was sent of it.
	NARBytes  int64                  `json:"narBytes,omitempty"`
	FileBytes int64                  `json:"fileBytes,omitempty"`
	Seconds   float64                `json:"seconds,omitempty"`
	added     map[nix.StorePath]bool // those objects

	// Pins are the names under which outputs were pinned.
	Pins []string `json:"pins,omitempty"`
	// Conflicts are the paths under which the cache has other contents. Then nothing is pushed.
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// PublishVerdict is the end of publishing in one word. It is not the build's: a build can be good and a cache be down.
type PublishVerdict string

// The verdicts of publishing.
const (
	Published   PublishVerdict = "published"     // all is in the cache, and consumers see it
	NotWanted   PublishVerdict = "not wanted"    // no secret, or the command line says so
	Withheld    PublishVerdict = "withheld"      // it must not be published: Reason says why
	Unpublished PublishVerdict = "unpublished"   // it should be, and was not, or not all of it
	Unconfirmed PublishVerdict = "not confirmed" // all was pushed, and a consumer does not get it
)

// PublishError says that what was built could not be published, and why. The build itself is good.
type PublishError struct {
	System matrix.System
	Cache  string
	Err    error
}

func (e *PublishError) Error() string { return fmt.Sprintf("publish to %s: %v", e.Cache, e.Err) }

// Unwrap returns the cause, for its hints.
func (e *PublishError) Unwrap() error { return e.Err }

// onlyPublishing says that nothing but publishing has failed.
func onlyPublishing(err error) bool {
	return only(err, func(err error) bool { _, ok := err.(*PublishError); return ok })
}

// OnlyResults says that nothing failed but what the manifest says all of: the evaluation of single packages, builds and
// checks. No step of the run itself failed, such as an export, and nothing interrupted the run.
func OnlyResults(err error) bool {
	return err == nil || only(err, func(err error) bool {
		switch err := err.(type) {
		case *EvaluationError:
			return len(err.Failed) > 0
		case *BuildError, *ContractError, *RebuildError:
			return true
		}
		return false
	})
}

// only reports whether all errors that are joined in one are of a kind, or wrap one that is.
func only(err error, isKind func(error) bool) bool {
	if isKind(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(child error) bool { return !only(child, isKind) })
	case interface{ Unwrap() error }:
		return e.Unwrap() != nil && only(e.Unwrap(), isKind)
	}
	return false
}

// unavailable says that a cache did not answer, which is no verdict about anything but the cache.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
}

// checkTimeout limits the question whether the run may push, with all its attempts. It is asked again after the build.
const checkTimeout = time.Minute

// mayPublish asks once, before anything is built, whether the run may push. A wrong key is found here and not after an hour.
// A cache that does not answer is no reason not to build: it is asked again when there is something to push.
func (r *Release) mayPublish(ctx context.Context, s Snapshot) error {
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
	return r.step(ctx, StepPreflight, "", func() (string, error) {
		asking, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no answer within %s", checkTimeout))
		defer cancel()
		err := p.To.Check(asking)
		if err != nil && ctx.Err() != nil {
			return "", ctx.Err() // it is the run that has ended: nothing was built that could be good
		}
		if unavailable(err) || err != nil && asking.Err() != nil {
			r.event(Notice{Level: Warning, Text: fmt.Sprintf("ask cache %s whether this run may push: %v", p.To.Name(), err)})
			return "", skipped("the cache does not answer; it is asked again after the build")
		}
		if err != nil {
			return "", &PublishError{Cache: p.To.Name(), Err: err}
		}
		r.abortLeft(ctx)
		return "may push to " + p.To.Name(), nil
	})
}

// withheld says why what is built of a snapshot is never published; empty where it may be.
func (r *Release) withheld(s Snapshot) string {
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
func (r *Release) guardSecret(cell matrix.Cell, e Engine, p probed) error {
	here := p.here() // a remote builder does not see the memory of this process
	if r.Publish.To == nil || e.Kind != "host" || here == nil || here.sandboxed() || r.Publish.Unsandboxed && !here.WritableInputs {
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
