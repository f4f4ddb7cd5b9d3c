package buildlog

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// summaryMessage is an error that lists the failed derivations again.
var summaryMessage = regexp.MustCompile(`^(error: )?build of (resolved derivation )?'.*' failed$`)

const (
	maxErrors = 100   // of Nix's errors that name no derivation
	maxClaims = 10000 // of errors that name one
	maxPlain  = 5     // of the lines outside of the log's format
)

// message reads an error or a warning of Nix. All messages of a daemon have the level of an error.
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

// plainLine reads a line outside of the log's format. Nix writes such a line for an error that it cannot log.
func (l *Log) plainLine(e nix.LogEntry) {
	text := strings.TrimSpace(nix.Redact(nix.PlainText(e.Text)))
	switch {
	case text == "" || strings.HasPrefix(text, "@nix"):
	case e.IsPlainError():
		l.errorMessage(e.Text, true)
	default:
		l.plain = append(l.plain, printable.Cut(text, tailLineMax))
		l.plain = l.plain[max(0, len(l.plain)-maxPlain):]
	}
}

// errorMessage reads an error. Nix writes its own errors in two forms (raw_msg), but those of its daemon in one. A builder
// can write a message into the log too, with a line in the log's format. So an error in one form is only a claim. It is
// trusted if the build can be one that Nix counted as failed. Otherwise it is trusted after the end of Nix, if the outputs
// are missing.
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
	case summaryMessage.MatchString(f.Message): // each derivation also has its own message
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

// derivationOf returns the derivation of the first known output in a message; empty if there is none.
func (l *Log) derivationOf(text string) nix.StorePath {
	for _, path := range anyStorePath.FindAllString(nix.PlainText(text), -1) {
		if drv, ok := l.byOutput[nix.StorePath(path)]; ok {
			return drv
		}
	}
	return ""
}

// fail records why a derivation failed, and ends its build if it has not ended yet.
func (l *Log) fail(drv nix.StorePath, f *run.Failure) {
	known := l.failures[drv]
	if known != nil && known.Kind.Specificity() >= f.Kind.Specificity() {
		return
	}
	l.failures[drv] = f
	b := l.builds[drv]
	switch {
	case known != nil:
		f.Phase, f.At = known.Phase, known.At // the end is already reported
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

// explain adds what the build's log and the measurements show about a failure.
func (l *Log) explain(b *build, f *run.Failure) {
	f.Phase = b.phase
	if f.Kind == run.NotReproducible || f.Kind == run.OutputRefused {
		f.Phase = "" // Nix checks the outputs after all phases
	}
	if l.known[b.drv].Fixed {
		downloadFailure(f, b.log.tail)
	}
	l.explainByMeasurements(b, f)
	if f.Kind != run.DownloadFailed { // no line of the flake causes it
		f.At = l.location(b)
	}
}

// busyDatabase matches the warning of a Nix that waits for another one to write. Most often that is another command of
// the same run.
var busyDatabase = regexp.MustCompile(`^SQLite database .* is busy`)

// warn reports each warning once. Nix repeats the warning of a download for each attempt.
func (l *Log) warn(text string) {
	text = strings.TrimPrefix(nix.Redact(nix.FirstLine(text)), "warning: ")
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "error: "), "; retrying in ") // the same for each attempt
	key := text
	if m := failedDownload.FindStringSubmatch(text); m != nil {
		if u, err := url.Parse(m[1]); err == nil {
			key = u.Host + m[2] // one warning for each server is enough
		}
	}
	// Builds need no GC root: the export follows at once, and builds again what a garbage collector has removed.
	if !l.warned[key] && !strings.Contains(text, "--add-root") {
		l.warned[key] = true
		level := run.Warning
		if busyDatabase.MatchString(text) {
			level = run.Info
		}
		l.Event(run.Notice{System: l.System, Level: level, Text: text})
	}
}

// runError is Nix's own error of a failed command: the last one that names no derivation. Errors of a known kind take
// precedence.
func (l *Log) runError(ctx context.Context, err error) *run.Failure {
	command := CommandFailure(ctx, err)
	if ctx.Err() != nil || command.Kind == run.EngineLost || command.ExitCode > 128 {
		return command
	}
	errors := slices.Concat(l.unnamedClaims, l.errors)
	slices.Reverse(errors)
	if i := slices.IndexFunc(errors, func(f *run.Failure) bool { return f.Kind != run.UnknownFailure }); i >= 0 {
		return errors[i]
	}
	switch {
	case len(errors) > 0:
		return errors[0]
	case command.Kind != run.UnknownFailure || len(l.plain) == 0:
		return command
	}
	return &run.Failure{Kind: run.UnknownFailure, Message: strings.Join(l.plain, "; "), ExitCode: command.ExitCode}
}
