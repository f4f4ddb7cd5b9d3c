package pipelines

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

var (
	derivationPath = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+\.drv`)
	exitCodeText   = regexp.MustCompile(`exit code (\d+)`)
	signalText     = regexp.MustCompile(`due to signal (\d+)`)
)

// failureRules tell from Nix's words what befell a build, most telling first.
// The words changed in Nix 2.31 ("Cannot build … Reason: …"); both forms are matched.
var failureRules = []struct {
	words string
	kind  FailureKind
}{
	{"hash mismatch in fixed-output derivation", HashMismatch},
	{"may not be deterministic", NotReproducible},
	{"No space left on device", DiskFull},
	{"disk full", DiskFull},
	{"Nix daemon disconnected unexpectedly", OutOfMemory},
	{"unexpected end-of-file", EngineLost},
	{"timed out after", TimedOut},
	{"is required to build", UnsupportedFailure},
	{"dependencies of derivation", DependencyFailed},
	{"dependency failed", DependencyFailed},
	{"dependencies failed", DependencyFailed},
	{"some substitutes for the outputs", SubstituterFailed},
	{"unable to download", SubstituterFailed},
	{"substituter", SubstituterFailed},
	{"due to signal 9", OutOfMemory},
	{"exit code 137", OutOfMemory},
	{"failed with exit code", BuilderFailed},
	{"due to signal", BuilderFailed},
}

// classify reads one error message of Nix. It returns the derivation that the message is about, empty where there is none.
func classify(message string) (nix.StorePath, *Failure) {
	text := nix.Redact(nix.PlainText(message)) // a cache's URL may hold credentials
	f := &Failure{Kind: UnknownFailure, Message: onOneLine(text)}
	for _, rule := range failureRules {
		if strings.Contains(text, rule.words) {
			f.Kind = rule.kind
			break
		}
	}
	if m := exitCodeText.FindStringSubmatch(text); m != nil {
		f.ExitCode, _ = strconv.Atoi(m[1])
	} else if m := signalText.FindStringSubmatch(text); m != nil {
		signal, _ := strconv.Atoi(m[1])
		f.ExitCode = 128 + signal
	}
	return nix.StorePath(derivationPath.FindString(text)), f
}

// onOneLine joins the lines of an error: those of a wrong hash are its whole meaning.
func onOneLine(text string) string {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "error:"))
	for _, rest := range []string{"Output paths:", "last 25 log lines:", "Last 25 log lines:", "For full logs"} {
		text, _, _ = strings.Cut(text, rest) // shown elsewhere, or of no use
	}
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ";: ")
}

// Ending is how a build has ended, as far as it should be the same each time: kind, phase and exit code.
func (f *Failure) Ending() string {
	text := string(f.Kind)
	if f.Phase != "" {
		text += " in " + f.Phase
	}
	if f.ExitCode != 0 {
		text += fmt.Sprintf(", exit code %d", f.ExitCode)
	}
	return text
}

// refine looks into the end of a failed build's log for a cause that its exit code does not tell.
func (f *Failure) refine(tail []string) {
	if f.Kind == NotReproducible {
		f.Phase = "" // it is seen when all of them are over
	}
	if f.Kind != BuilderFailed {
		return
	}
	for _, line := range tail {
		switch {
		case strings.Contains(line, "No space left on device"):
			f.Kind = DiskFull
		case strings.Contains(line, "signal: 9, SIGKILL"), strings.Contains(line, "Cannot allocate memory"):
			f.Kind = OutOfMemory
		}
	}
}

// mend says what a person can do about a failure that is not the builder's own.
func (k FailureKind) mend() string {
	switch k {
	case OutOfMemory:
		return "the kernel or the engine ended it for want of memory: give fewer --jobs, or the engine more memory"
	case DiskFull:
		return "make room on the store's disk: nix-collect-garbage"
	case SubstituterFailed:
		return "a binary cache did not answer; the build itself is not at fault: run the same command again"
	case TimedOut:
		return "give it more time: --timeout"
	case EngineLost:
		return "the engine went away: look at its log, start it, and run the same command again; what was built is kept"
	}
	return ""
}

// failureOf names what an error of a whole command was, where no message was about a derivation.
func failureOf(ctx context.Context, err error) *Failure {
	var exit *ExitError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Kind: TimedOut, Message: context.Cause(ctx).Error()}
	case errors.Is(err, context.Canceled):
		return &Failure{Kind: Interrupted, Message: context.Cause(ctx).Error()}
	case errors.As(err, &exit):
		_, f := classify(nix.ErrorMessage(exit.Stderr))
		f.ExitCode = exit.Code
		if f.Message == "" {
			f.Message = exit.Error()
		}
		if exit.Code == 137 {
			f.Kind = OutOfMemory
		}
		return f
	}
	return &Failure{Kind: UnknownFailure, Message: err.Error()}
}
