// Package publish publishes store objects in a binary cache: it plans a push, pushes, confirms that consumers get the
// objects, and pins them. A journal lists what a run could not publish.
package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Cache is a cache with the right to push to it. [*Cachix] implements it. It is safe for concurrent use.
type Cache interface {
	Name() string
	// Check tests the credential. An error with a method Unavailable that returns true means that the cache did not answer.
	Check(ctx context.Context) error
	// Plan determines which objects the cache lacks.
	Plan(ctx context.Context, infos []nix.PathInfo) (cachix.Plan, error)
	// Push makes the objects of a plan visible, each after everything that it refers to. The result is valid even with
	// an error.
	Push(ctx context.Context, plan cachix.Plan, uploads *UploadLog, report func(run.PushProgress)) (run.Pushed, error)
	// AbortUploads aborts uploads that another process has begun, and returns how many of them were open.
	AbortUploads(ctx context.Context, ids []string) (int, error)
	// Pin protects a store path from the cache's garbage collector under a name.
	Pin(ctx context.Context, name string, path nix.StorePath) error
	// Consumer returns the public side of the cache, as its users see it.
	Consumer(ctx context.Context) (Consumer, error)
}

// Consumer is the public side of a cache. [*binarycache.Consumer] implements it.
type Consumer interface {
	run.NARHasher
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
	Sees(ctx context.Context, info nix.PathInfo, fetch func(narBytes int64) bool) error
}

// Publisher publishes what a run has built, or what a user names. Its fields are set before its first use.
type Publisher struct {
	*run.Recorder
	ID       string         // of the run
	Record   *record.Record // stores which run has made a pin; nil for none
	Evidence run.Evidence   // keeps contents that conflict; nil for none

	To       Cache         // nil if nothing is pushed
	Disabled string        // the reason why nothing is pushed; empty for a command that never publishes
	From     run.NARSource // has the objects, to compare them with those of the cache

	Consent      // to what the record would withhold
	Always  bool // everything that prevents a push is an error
	Pins    bool // the run is a release: it pins its outputs when every cell is published
	Confirm bool // ask the public side of the cache for what was pushed

	Timeout  time.Duration // of the push of a cell, and of the pins; 0 for none
	Patience time.Duration // how long to wait until consumers see more; 0 asks once

	Journal *Journal   // lists what is not published yet; nil for none
	Resume  string     // the command that continues with the journal
	Uploads *UploadLog // lists open uploads; nil for none
}

// checkTimeout limits the test of the credential with all its attempts. A push tests it again.
const checkTimeout = time.Minute

// CheckAccess tests the credential before anything is built. If the cache does not answer, the build goes on, because the
// push asks again.
func (p *Publisher) CheckAccess(ctx context.Context) error {
	return p.Step(ctx, run.StepPreflight, "", func() (string, error) {
		limited, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no answer within %s", checkTimeout))
		defer cancel()
		err := p.To.Check(limited)
		if err != nil && ctx.Err() != nil {
			return "", ctx.Err()
		}
		if isUnavailable(err) || err != nil && limited.Err() != nil {
			p.Warn("", "ask cache %s whether this run may push: %v", p.To.Name(), err)
			return "", run.Skipped("the cache does not answer; it is asked again after the build")
		}
		if err != nil {
			return "", p.Error("", err)
		}
		p.abortLeft(ctx)
		return "may push to " + p.To.Name(), nil
	})
}

// abortLeft aborts open uploads of killed runs. A failure is a warning: a later run tries again.
func (p *Publisher) abortLeft(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	n, err := p.Uploads.AbortLeft(ctx, p.To.AbortUploads)
	if n > 0 {
		p.Event(run.Notice{Level: run.Info, Text: fmt.Sprintf("aborted %s that a killed run had left open on %s", run.Count(n, "upload"), p.To.Name())})
	}
	if err != nil {
		p.Warn("", "abort uploads that a killed run has left open: %v", err)
	}
}

// Error is a publishing error of a cell.
type Error struct {
	System matrix.System
	Cache  string
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("publish to %s: %v", e.Cache, e.Err) }

// Unwrap returns the cause, for its hints.
func (e *Error) Unwrap() error { return e.Err }

// Outcome of a build that is good, and not published.
func (e *Error) Outcome() run.Outcome { return run.OutcomeUnpublished }

// Error returns an [*Error] about the cache. System is empty if it is about the whole run.
func (p *Publisher) Error(system matrix.System, err error) error {
	name := "a cache"
	if p.To != nil {
		name = p.To.Name()
	}
	return &Error{System: system, Cache: name, Err: err}
}

// isUnavailable reports whether a cache did not answer.
func isUnavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
}
