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
	// buildersLog is where an error message goes on with the end of a builder's log, or with paths.
	buildersLog = regexp.MustCompile(`Output paths:|[Ll]ast \d+ log lines:|For full logs`)
)

// failureRules tell the kind of a failure by the words of Nix's own message, most telling first.
// The words changed in Nix 2.31 ("Cannot build … Reason: …"); both forms are matched.
var failureRules = []struct {
	words string
	kind  FailureKind
}{
	{"hash mismatch in fixed-output derivation", HashMismatch},
	{"may not be deterministic", NotReproducible},
	{"No space left on device", DiskFull},
	{"lack of free disk space", DiskFull}, // which Nix has measured: less than 8 MiB
	{"database or disk is full", DiskFull},
	{"Nix daemon disconnected unexpectedly", EngineLost},
	{"unexpected end-of-file", EngineLost},
	{"timed out after", TimedOut},
	{"killed after writing more than", LogLimit},
	{"is required to build", UnsupportedFailure},
	{"missing system features", UnsupportedFailure},
	{"platform mismatch", UnsupportedFailure},
	{"required system or feature not available", UnsupportedFailure},
	{"not allowed to refer to", OutputRefused},
	{"not allowed to have direct", OutputRefused},
	{"cycle detected in", OutputRefused},
	{"failed to produce output", OutputRefused},
	{"has an unsupported type", OutputRefused},
	{"has unsupported type", OutputRefused},
	{"suspicious ownership or permission", OutputRefused},
	{"is larger than the limit", OutputRefused},
	{"dependencies of derivation", DependencyFailed},
	{"dependency failed", DependencyFailed},
	{"dependencies failed", DependencyFailed},
	{"some substitutes for the outputs", SubstituterFailed},
	{"unable to download", SubstituterFailed},
	{"substituter", SubstituterFailed},
	{"due to signal 9", Killed},
	{"exit code 137", Killed},
	{"failed with exit code", BuilderFailed},
	{"due to signal", BuilderFailed},
}

// classify reads one error message of Nix. It returns the derivation that the message is about, empty where there is none.
func classify(message string) (nix.StorePath, *Failure) {
	text := nix.Redact(nix.PlainText(message)) // a cache's URL may hold credentials
	if i := buildersLog.FindStringIndex(text); i != nil {
		text = text[:i[0]] // shown elsewhere, and not Nix's own words
	}
	f := &Failure{Kind: UnknownFailure, Message: onOneLine(text)}
	words := anyStorePath.ReplaceAllString(f.Message, "") // a package's name is not Nix's own word either
	for _, rule := range failureRules {
		if strings.Contains(words, rule.words) {
			f.Kind = rule.kind
			break
		}
	}
	if m := exitCodeText.FindStringSubmatch(words); m != nil {
		f.ExitCode, _ = strconv.Atoi(m[1])
	} else if m := signalText.FindStringSubmatch(words); m != nil {
		signal, _ := strconv.Atoi(m[1])
		f.ExitCode = 128 + signal
	}
	return nix.StorePath(derivationPath.FindString(text)), f
}

// maxMessage bounds a message, which may hold any number of paths.
const maxMessage = 4 << 10

// onOneLine joins the lines of an error: those of a wrong hash are its whole meaning.
func onOneLine(text string) string {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "error:"))
	return cutText(strings.TrimRight(strings.Join(strings.Fields(text), " "), ";: "), maxMessage)
}

// cutText returns the beginning of a text.
func cutText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// weight says how much a kind tells: an error that is not understood tells less than that a dependency has failed, and
// that less than anything else.
func (k FailureKind) weight() int {
	switch k {
	case UnknownFailure:
		return 1
	case DependencyFailed:
		return 2
	}
	return 3
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

// hint says what to do about a failure that is not the builder's own; empty where there is nothing to say.
func (f *Failure) hint() string {
	switch f.Kind {
	case OutOfMemory:
		return "the kernel ended it for want of memory: give fewer --jobs, or the machine more memory"
	case Killed:
		return "look into the kernel's log for who sent signal 9: dmesg | grep -i kill"
	case DiskFull:
		return "make room where Nix keeps its store and builds: nix-collect-garbage; on a Dagger engine: dagger core engine local-cache prune"
	case SubstituterFailed:
		return "a binary cache did not answer; the build itself is not at fault: run the same command again"
	case DownloadFailed:
		return downloadHint(f.Reason)
	case TimedOut:
		return "raise Nix's time limits in nix.conf: timeout, max-silent-time"
	case LogLimit:
		return "raise Nix's limit of a log in nix.conf: max-build-log-size"
	case BuilderLost:
		return "a remote builder went away twice, and the build itself is not at fault: look at the builder, or leave it out of --builders"
	case EngineLost:
		return "the engine went away: look at its log, start it if it has ended, and run the same command again"
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
	case errors.Is(err, ErrDiskFull):
		return &Failure{Kind: DiskFull, Message: err.Error()}
	case errors.Is(err, ErrEngineLost):
		return &Failure{Kind: EngineLost, Message: err.Error()}
	case errors.As(err, &exit):
		_, f := classify(nix.ErrorMessage(exit.Stderr))
		f.ExitCode = exit.Code
		if f.Message == "" {
			f.Message = exit.Error()
		}
		if signal := exit.Code - 128; signal > 0 {
			// The last error that it wrote is not why it ended.
			f.Kind, f.Message = UnknownFailure, fmt.Sprintf("%s was ended by signal %d", exit.Program, signal)
		}
		if exit.Code == 137 {
			f.Kind = Killed
		}
		return f
	}
	return &Failure{Kind: UnknownFailure, Message: err.Error()}
}
