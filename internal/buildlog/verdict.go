package buildlog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// newAttempt starts the state of another process of Nix. It may build undecided derivations again.
func (l *Log) newAttempt() {
	for _, b := range l.undecidedBuilds() {
		b.stale = true
	}
	l.attempt = newAttempt()
}

// close handles the end of Nix. If Nix succeeded, each build did: Nix leaves remote builds open until then, and does not
// always count them. Otherwise a build stays undecided.
func (l *Log) close(ctx context.Context, err error) {
	if err != nil {
		l.nixError, l.interrupted = l.runError(ctx, err), ctx.Err() != nil
		l.explainNixError(l.nixError)
	}
	now := l.Now()
	for _, b := range l.undecidedBuilds() {
		switch {
		case b.stale:
		case err == nil:
			l.succeed(b, now)
		default:
			b.log.close()
			b.seconds = run.Seconds(now.Sub(b.started))
			b.claim = l.claims[b.drv]
		}
	}
	if err == nil {
		return
	}
	for _, drv := range slices.Sorted(maps.Keys(l.claims)) {
		if l.builds[drv] == nil { // only the store could refute it, and only the outputs of packages are queried
			l.fail(drv, l.claims[drv])
		}
	}
}

func (l *Log) Undecided() []nix.StorePath {
	var drvs []nix.StorePath
	for _, b := range l.undecidedBuilds() {
		drvs = append(drvs, b.drv)
	}
	return drvs
}

// DecideByStore ends the undecided builds. It needs the derivations whose outputs the store has; the others failed or
// were not finished.
func (l *Log) DecideByStore(built map[nix.StorePath]bool) {
	for _, b := range l.undecidedBuilds() {
		if built[b.drv] {
			b.state = succeeded
			l.finish(b, nil)
			continue
		}
		if b.claim != nil && l.failures[b.drv] == nil {
			l.fail(b.drv, b.claim)
			continue
		}
		f := l.UnfinishedFailure()
		if f == nil {
			f = &run.Failure{Kind: run.Unfinished, Message: "Nix stopped before the build ended"}
		}
		if l.maybeEnded(b) {
			f = &run.Failure{Kind: run.Unfinished, Message: "Nix was stopped before it reported the result of the build: " + l.nixError.Message}
			l.failures[b.drv] = f
		}
		f.Phase = b.phase
		b.state = abandoned
		l.finish(b, f)
	}
}

// Failure returns a copy of the failure of a derivation; nil if none is known.
func (l *Log) Failure(drv nix.StorePath) *run.Failure {
	f := l.failures[drv]
	if b := l.builds[drv]; f == nil && b != nil && b.state == undecided {
		f = b.claim
	}
	if f == nil {
		return nil
	}
	copied := *f
	return &copied
}

// RootFailures returns the derivations that failed by themselves, not because of a dependency, in order.
func (l *Log) RootFailures() []nix.StorePath {
	var drvs []nix.StorePath
	for drv, f := range l.failures {
		if f.Kind != run.DependencyFailed {
			drvs = append(drvs, drv)
		}
	}
	for _, b := range l.undecidedBuilds() {
		if b.claim != nil && l.failures[b.drv] == nil {
			drvs = append(drvs, b.drv)
		}
	}
	slices.Sort(drvs)
	return drvs
}

// maybeEnded reports whether Nix may have counted the end of an undecided build before the run was interrupted. Then the
// interruption is not certain to be the cause. Nix reports why a package failed only after all builds.
func (l *Log) maybeEnded(b *build) bool {
	return l.interrupted && len(possible(l.badCounts, b))+len(possible(l.goodCounts, b)) > 0
}

// UnfinishedFailure is the failure of a package that Nix did not finish: the error of the last command. It has that
// error's kind only if the machine is at fault. It is nil if no command failed.
func (l *Log) UnfinishedFailure() *run.Failure {
	if l.nixError == nil {
		return nil
	}
	f := &run.Failure{Kind: run.Unfinished, Message: "Nix stopped: " + l.nixError.Message, ExitCode: l.nixError.ExitCode, Remark: l.nixError.Remark}
	if l.nixError.IsOfMachine() {
		f.Kind = l.nixError.Kind
	}
	return f
}

// DependencyFailure is the failure of a package whose dependencies failed. A failure of a build takes precedence over a
// failed download.
func (l *Log) DependencyFailure(failed []nix.StorePath) *run.Failure {
	cause := failed[0]
	for _, drv := range failed {
		if l.Failure(drv).Kind != run.DownloadFailed {
			cause = drv
			break
		}
	}
	root := l.Failure(cause)
	root.Derivation = cause
	name := nix.DerivationName(cause)
	if root.Kind == run.DownloadFailed {
		root.Message = fmt.Sprintf("its dependency %s could not be downloaded: %s", name, root.Reason)
	} else {
		root.Message = fmt.Sprintf("its dependency %s: %s", cause.Name(), root.Message)
	}
	if others := len(failed) - 1; others > 0 {
		root.Message += fmt.Sprintf(" (and %s failed)", run.Count(others, "more dependency"))
	}
	if root.Kind == run.BuilderFailed {
		root.Kind = run.DependencyFailed
	}
	return root
}

// RecordResult sets the verdict of a package, by the outputs that the store lacks and by this log.
func (l *Log) RecordResult(p *run.PackageResult, invalid map[nix.StorePath]bool) {
	b := l.builds[p.Derivation]
	if b != nil {
		p.Seconds, p.Log = b.seconds, strings.TrimPrefix(b.log.path, l.Logs.Name()+"/")
	}
	p.Verdict = run.Present
	for _, o := range p.Outputs {
		if invalid[o.Path] {
			p.Verdict = run.Failed
			return
		}
		if l.fetched[o.Path] {
			p.Verdict = run.Substituted
		}
	}
	p.Failure = nil
	if b != nil {
		p.Verdict, p.Builder = run.Built, nix.Redact(b.machine)
	}
}

// RetrySubstitution reports whether only substituters are at fault, so that another attempt may succeed. It then forgets
// the failures.
func (l *Log) RetrySubstitution() bool {
	isSubstituter := func(f *run.Failure) bool { return f.Kind == run.SubstituterFailed }
	found := slices.ContainsFunc(l.errors, isSubstituter)
	for _, f := range l.failures {
		if !isSubstituter(f) && f.Kind != run.DependencyFailed {
			return false
		}
		found = found || isSubstituter(f)
	}
	if found {
		clear(l.failures)
	}
	return found
}

// NixError returns the error of the last command of Nix that failed; nil if none failed.
func (l *Log) NixError() *run.Failure {
	return l.nixError
}
