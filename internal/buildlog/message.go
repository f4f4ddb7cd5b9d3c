package buildlog

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// summaryMessage is an error that repeats which of the derivations that were asked for have failed.
var summaryMessage = regexp.MustCompile(`^(error: )?build of (resolved derivation )?'.*' failed$`)

const (
	maxErrors = 100   // of Nix's errors that name no derivation
	maxClaims = 10000 // of errors that name one
	maxPlain  = 5     // of the lines outside of the log's format
)

// message takes what Nix itself says: errors, and warnings. All that a daemon says comes as if it were an error.
func (l *Log) message(e nix.LogEntry) {
	text := nix.PlainText(e.Msg)
	switch {
	case e.Level == 0 && l.unreachable(text):
	case e.Level == 1, e.Level == 0 && strings.HasPrefix(text, "warning:"):
		l.warn(text)
	case e.Level == 0 && (e.RawMsg != "" || strings.HasPrefix(text, "error:")):
		l.errorMessage(e.ErrorText(), e.RawMsg != "")
	}
}

// plainLine takes a line outside of the log's format, which is how Nix reports an error that it cannot log.
func (l *Log) plainLine(e nix.LogEntry) {
	text := strings.TrimSpace(nix.Redact(nix.PlainText(e.Text)))
	switch {
	case text == "" || strings.HasPrefix(text, "@nix"):
	case e.IsPlainError():
		l.errorMessage(e.Text, true)
	default:
		l.plain = append(l.plain, cutText(text, tailLineMax))
		l.plain = l.plain[max(0, len(l.plain)-maxPlain):]
	}
}

// errorMessage takes an error. Nix gives its own ones in two forms (raw_msg), but for those of its daemon. A builder can
// have Nix log a message too, by a line in the log's format. So what may be a builder's is a claim: it is believed of a
// build that can be one of those that Nix has counted as failed, and otherwise when Nix has ended, if the outputs are
// not there.
func (l *Log) errorMessage(text string, own bool) {
	drv, f := Classify(text)
	if drv == "" {
		drv = l.derivationOf(text)
	}
	b := l.builds[drv]
	if own && b != nil && b.machine != "" {
		if f = l.remoteFailure(b, f); f == nil {
			return
		}
	}
	switch {
	case summaryMessage.MatchString(f.Message): // each has a message of its own
	case drv == "" && own:
		l.errors = append(l.errors[max(0, len(l.errors)-maxErrors):], f)
	case drv == "":
		l.unnamedClaims = append(l.unnamedClaims[max(0, len(l.unnamedClaims)-maxErrors):], f)
	case own || b != nil && b.state == undecided && len(possible(l.badCounts, b)) > 0:
		l.fail(drv, f)
	case l.claims[drv] == nil && len(l.claims) < maxClaims:
		l.claims[drv] = f
	}
}

var anyStorePath = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+`)

// derivationOf returns the derivation of the first output that a message names; empty where it names none that is known.
func (l *Log) derivationOf(text string) nix.StorePath {
	for _, path := range anyStorePath.FindAllString(nix.PlainText(text), -1) {
		if drv, ok := l.byOutput[nix.StorePath(path)]; ok {
			return drv
		}
	}
	return ""
}

// fail notes why a derivation failed, and ends it where it has not ended yet.
func (l *Log) fail(drv nix.StorePath, f *run.Failure) {
	known := l.failures[drv]
	if known != nil && known.Kind.Specificity() >= f.Kind.Specificity() {
		return
	}
	l.failures[drv] = f
	b := l.builds[drv]
	switch {
	case known != nil:
		f.Phase, f.At = known.Phase, known.At // its end was reported
	case b != nil && b.state == undecided:
		if b.closeSeq == 0 {
			b.seconds = run.Seconds(l.Now().Sub(b.started))
		}
		l.assignFailureCount(b)
		l.explain(b, f)
		b.state = failed
		l.finish(b, f)
	case b == nil && f.Kind != run.DependencyFailed && f.Kind != run.SubstituterFailed: // Nix refuses to begin it
		l.Event(run.BuildFinished{System: l.System, Derivation: drv, Failure: f})
	}
}

// explain adds to a failure what the build itself and the machine's measurements tell of it.
func (l *Log) explain(b *build, f *run.Failure) {
	f.Phase = b.phase
	if f.Kind == run.NotReproducible || f.Kind == run.OutputRefused {
		f.Phase = "" // it is seen when all of them are over
	}
	if l.known[b.drv].Fixed {
		downloadFailure(f, b.log.tail)
	}
	l.explainByMeasurements(b, f)
	if f.Kind != run.DownloadFailed { // which no line of the flake can be blamed for
		f.At = l.location(b)
	}
}

// warn passes on a warning, each once. The same download fails for as many reasons as it is tried.
func (l *Log) warn(text string) {
	text = strings.TrimPrefix(nix.Redact(nix.FirstLine(text)), "warning: ")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "error: "), "; retrying in ") // the same each time
	key := text
	if m := failedDownload.FindStringSubmatch(text); m != nil {
		if u, err := url.Parse(m[1]); err == nil {
			key = u.Host + m[2] // one warning for each server is enough
		}
	}
	// Nothing is rooted: the export follows at once, and realises again what a collector has taken in between.
	if !l.warned[key] && !strings.Contains(text, "--add-root") {
		l.warned[key] = true
		l.Event(run.Notice{System: l.System, Level: run.Warning, Text: text})
	}
}

// runError is Nix's own error of a realisation that has failed: its last one that names no derivation. An error that is
// understood goes before one that is not.
func (l *Log) runError(ctx context.Context, err error) *run.Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	whole := CommandFailure(ctx, err)
	if ctx.Err() != nil || whole.Kind == run.EngineLost || whole.ExitCode > 128 {
		return whole
	}
	errors := slices.Concat(l.unnamedClaims, l.errors)
	slices.Reverse(errors)
	if i := slices.IndexFunc(errors, func(f *run.Failure) bool { return f.Kind != run.UnknownFailure }); i >= 0 {
		return errors[i]
	}
	switch {
	case len(errors) > 0:
		return errors[0]
	case whole.Kind != run.UnknownFailure || len(l.plain) == 0:
		return whole
	}
	return &run.Failure{Kind: run.UnknownFailure, Message: strings.Join(l.plain, "; "), ExitCode: whole.ExitCode}
}
