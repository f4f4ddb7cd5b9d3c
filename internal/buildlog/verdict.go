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

// newAttempt is for another process of Nix. Builds that an earlier one has left undecided may begin again.
func (l *Log) newAttempt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.undecidedBuilds() {
		b.stale = true
	}
	l.attempt = newAttempt()
}

// close is for when Nix has ended, with an error or well. Where all went well, every build did: a remote builder's are
// left open until then, and not always counted. Otherwise a build stays undecided.
func (l *Log) close(ctx context.Context, err error) {
	if err != nil {
		l.nixError, l.interrupted = l.runError(ctx, err), ctx.Err() != nil
		l.explainNixError(l.nixError)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
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
		if l.builds[drv] == nil { // there is nothing that could show it to be wrong but the store, which is asked of packages
			l.fail(drv, l.claims[drv])
		}
	}
}

// unknown returns the derivations whose builds are still undecided.
func (l *Log) Undecided() []nix.StorePath {
	l.mu.Lock()
	defer l.mu.Unlock()
	var drvs []nix.StorePath
	for _, b := range l.undecidedBuilds() {
		drvs = append(drvs, b.drv)
	}
	return drvs
}

// decideBy ends the builds that are undecided by what the store has of their outputs. What is not there was not built.
func (l *Log) DecideByStore(built map[nix.StorePath]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
			f = &run.Failure{Kind: run.Unfinished, Message: "Nix was stopped before it said how the build ended: " + l.nixError.Message}
			l.failures[b.drv] = f
		}
		f.Phase = b.phase
		b.state = abandoned
		l.finish(b, f)
	}
}

// failure returns a copy of why a derivation has failed; nil where Nix has not said that it has.
func (l *Log) Failure(drv nix.StorePath) *run.Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
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

// causes returns the derivations that have failed by themselves, in order.
func (l *Log) RootFailures() []nix.StorePath {
	l.mu.Lock()
	defer l.mu.Unlock()
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

// maybeEnded says whether an undecided build can be one that Nix had counted as ended before the run was stopped: then
// it is not certain that this has stopped the build. Nix tells why a package failed only when all builds are over.
func (l *Log) maybeEnded(b *build) bool {
	return l.interrupted && len(possible(l.badCounts, b))+len(possible(l.goodCounts, b)) > 0
}

// stopped is the failure of what Nix has not come to the end of: Nix's own error of the run. Its kind is that of the run
// where the machine is at fault, and not where Nix stopped at something else. It is nil where Nix ended well.
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

// dependencyFailure is the failure of a package by those of its dependencies. A package's own fault is told first.
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
	name := strings.TrimSuffix(cause.Name(), ".drv")
	if root.Kind == run.DownloadFailed {
		root.Message = fmt.Sprintf("its dependency %s could not be downloaded: %s", name, root.Reason)
	} else {
		root.Message = fmt.Sprintf("its dependency %s: %s", cause.Name(), root.Message)
	}
	if others := len(failed) - 1; others > 0 {
		root.Message += fmt.Sprintf(" (and %s failed)", countMore(others, "dependency", "dependencies"))
	}
	if root.Kind == run.BuilderFailed {
		root.Kind = run.DependencyFailed
	}
	return root
}

func countMore(n int, one, many string) string {
	if n == 1 {
		return "1 more " + one
	}
	return fmt.Sprintf("%d more %s", n, many)
}

// settle writes the package's verdict, by what the store has and by what the log told.
func (l *Log) RecordResult(p *run.PackageResult, invalid map[nix.StorePath]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
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

// onlySubstitutersFailed reports whether nothing but caches was at fault.
func (l *Log) OnlySubstitutersFailed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for _, f := range l.failures {
		switch f.Kind {
		case run.SubstituterFailed:
			found = true
		case run.DependencyFailed:
		default:
			return false
		}
	}
	for _, f := range l.errors {
		found = found || f.Kind == run.SubstituterFailed
	}
	return found
}

// forgetSubstituters is for another try after nothing but caches was at fault.
func (l *Log) ForgetSubstituters() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.failures)
}

// NixError returns Nix's own error of the last command that failed; nil where none failed.
func (l *Log) NixError() *run.Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nixError
}
