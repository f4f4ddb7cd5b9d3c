package buildlog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// lostBuilds are the builds whose remote builder broke off. They say nothing of the packages, so they are tried once more.
type lostBuilds struct {
	drvs    []nix.StorePath
	retried bool // they were tried once more: another loss is a failure
}

// remoteFailure is why a build on a remote builder failed, of which Nix itself says only that its process for the build did
// (f). That process has said more: what the builder reported ("build of … on … failed: …"). Where it reported nothing and
// the connection broke, the build is lost: it is nil unless it was lost once already.
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
	l.unnamedClaims = slices.Delete(l.unnamedClaims, i, i+1) // it is about this one
	if l.lost.retried {
		return &run.Failure{Kind: run.BuilderLost, Message: reason}
	}
	l.lost.drvs = append(l.lost.drvs, b.drv)
	l.Event(run.Notice{System: l.System, Level: run.Warning, Text: fmt.Sprintf("%s: %s; it is built once more", b.drv.Name(), reason)})
	return nil
}

// unreachable mentions a remote builder that Nix says it cannot reach. It is no error of the run: another machine builds.
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

// retryLost says whether builds were lost that are to be tried once more, and forgets what failed for want of them.
func (l *Log) RetryLostBuilds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	// cannotBuildOn is how Nix says that it cannot reach a remote builder.
	cannotBuildOn = regexp.MustCompile(`^cannot build on '([^']+)': (.+)`)
	// nixLine are the beginnings of lines that Nix writes when it builds by another machine. Others are those of ssh.
	nixLine = regexp.MustCompile(`^(?:this derivation will|these (?:\d+ )?derivations will|/nix/store/|building '|copying |waiting |warning:|error:|…)`)
)

// unreachable reads from what Nix writes which remote builder it cannot reach, and why. Of nested errors, the last one is
// what ssh says. Over ssh-ng, ssh says it on a line before, and Nix only that it has said no more.
func ParseUnreachable(stderr string) (builder, reason string, ok bool) {
	said := ""
	for line := range strings.Lines(nix.Redact(nix.PlainText(stderr))) {
		line = strings.TrimSpace(line)
		if m := cannotBuildOn.FindStringSubmatch(line); m != nil {
			reason = strings.ReplaceAll(m[2], "error: ", "")
			if said != "" && !strings.Contains(reason, said) {
				reason = said
			}
			return m[1], reason, true
		}
		if line != "" && !nixLine.MatchString(line) {
			said = line
		}
	}
	return "", "", false
}
