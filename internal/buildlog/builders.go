package buildlog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// lostBuilds are the builds whose remote builder disconnected. The packages are not at fault, so they are built again.
type lostBuilds struct {
	drvs    []nix.StorePath
	retried bool // they were built again; another loss is a failure
}

// remoteFailure returns why a build on a remote builder failed. Nix itself only reports (f) that its local process for the
// build failed. Before that, this process logged the builder's own error ("build of … on … failed: …"). If it logged none
// and the connection broke, the build is lost: the result is nil the first time, and a failure the second time.
func (l *Log) remoteFailure(b *build, f *run.Failure) *run.Failure {
	if f.Kind != run.BuilderFailed || f.ExitCode != 1 {
		return f
	}
	if reported := l.claims[b.drv]; reported != nil && strings.Contains(reported.Message, "' on '") {
		return reported
	}
	isBroken := func(e *run.Failure) bool { return e.Kind == run.EngineLost }
	i := slices.IndexFunc(l.unnamedClaims, isBroken)
	if i < 0 {
		return f
	}
	reason := fmt.Sprintf("remote builder %s broke off: %s", nix.Redact(b.machine), l.unnamedClaims[i].Message)
	l.unnamedClaims = slices.Delete(l.unnamedClaims, i, i+1) // this error is about this build
	if l.lost.retried {
		return &run.Failure{Kind: run.BuilderLost, Message: reason}
	}
	l.lost.drvs = append(l.lost.drvs, b.drv)
	l.Warn(l.System, "%s: %s; it is built once more", b.drv.Name(), reason)
	return nil
}

// unreachable reports a remote builder that Nix cannot reach. This is no error of the run: another machine builds.
func (l *Log) unreachable(text string) bool {
	builder, reason, ok := ParseUnreachable(strings.Join(append(slices.Clone(l.plain), text), "\n"))
	isOurs := func(b nix.Builder) bool {
		return run.WithoutParameters(nix.Redact(b.URI)) == run.WithoutParameters(builder)
	}
	if !ok || !slices.ContainsFunc(l.Builders, isOurs) {
		return false
	}
	l.plain = nil
	l.Unreachable(builder, reason)
	return true
}

// RetryLostBuilds reports whether lost builds should be built again. It then forgets the failures that depend on them.
func (l *Log) RetryLostBuilds() bool {
	if len(l.lost.drvs) == 0 || l.lost.retried {
		return false
	}
	l.lost.retried = true
	for drv, f := range l.failures {
		if f.Kind == run.DependencyFailed {
			delete(l.failures, drv)
		}
	}
	return true
}

var (
	// cannotBuildOn is Nix's message about a remote builder that it cannot reach.
	cannotBuildOn = regexp.MustCompile(`^cannot build on '([^']+)': (.+)`)
	// nixLine has the beginnings of the lines that Nix writes when another machine builds. All other lines are ssh's.
	nixLine = regexp.MustCompile(`^(?:this derivation will|these (?:\d+ )?derivations will|/nix/store/|building '|copying |waiting |warning:|error:|…)`)
)

// ParseUnreachable reads which remote builder Nix cannot reach, and why. The last of nested errors is that of ssh. Over
// ssh-ng, ssh writes its error on the line before, and Nix reports only that the connection ended.
func ParseUnreachable(stderr string) (builder, reason string, ok bool) {
	reported := ""
	for line := range strings.Lines(nix.Redact(nix.PlainText(stderr))) {
		line = strings.TrimSpace(line)
		if m := cannotBuildOn.FindStringSubmatch(line); m != nil {
			reason = strings.ReplaceAll(m[2], "error: ", "")
			if reported != "" && !strings.Contains(reason, reported) {
				reason = reported
			}
			return m[1], reason, true
		}
		if line != "" && !nixLine.MatchString(line) {
			reported = line
		}
	}
	return "", "", false
}
