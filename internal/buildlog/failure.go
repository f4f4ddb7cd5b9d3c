package buildlog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var (
	derivationPath = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+\.drv`)
	exitCodeText   = regexp.MustCompile(`exit code (\d+)`)
	signalText     = regexp.MustCompile(`due to signal (\d+)`)
	// buildersLog begins the part of an error message that is the end of a builder's log, or a list of paths.
	buildersLog = regexp.MustCompile(`Output paths:|[Ll]ast \d+ log lines:|For full logs`)
)

// failureRules find the kind of a failure by the words of Nix's own message, the most specific first.
// The words changed in Nix 2.31 ("Cannot build … Reason: …"); both forms are matched.
var failureRules = []struct {
	words string
	kind  run.FailureKind
}{
	{"hash mismatch in fixed-output derivation", run.HashMismatch},
	{"may not be deterministic", run.NotReproducible},
	{"No space left on device", run.DiskFull},
	{"lack of free disk space", run.DiskFull}, // Nix measured less than 8 MiB
	{"database or disk is full", run.DiskFull},
	{"Nix daemon disconnected unexpectedly", run.EngineLost},
	{"unexpected end-of-file", run.EngineLost},
	{"timed out after", run.TimedOut},
	{"killed after writing more than", run.LogLimit},
	{"is required to build", run.UnsupportedFailure},
	{"missing system features", run.UnsupportedFailure},
	{"platform mismatch", run.UnsupportedFailure},
	{"required system or feature not available", run.UnsupportedFailure},
	{"not allowed to refer to", run.OutputRefused},
	{"not allowed to have direct", run.OutputRefused},
	{"cycle detected in", run.OutputRefused},
	{"failed to produce output", run.OutputRefused},
	{"has an unsupported type", run.OutputRefused},
	{"has unsupported type", run.OutputRefused},
	{"suspicious ownership or permission", run.OutputRefused},
	{"is larger than the limit", run.OutputRefused},
	{"dependencies of derivation", run.DependencyFailed},
	{"dependency failed", run.DependencyFailed},
	{"dependencies failed", run.DependencyFailed},
	{"some substitutes for the outputs", run.SubstituterFailed},
	{"unable to download", run.SubstituterFailed},
	{"substituter", run.SubstituterFailed},
	{"due to signal 9", run.Killed},
	{"exit code 137", run.Killed},
	{"failed with exit code", run.BuilderFailed},
	{"due to signal", run.BuilderFailed},
}

// Classify reads an error message of Nix. It returns the derivation that the message is about, or an empty path.
func Classify(message string) (nix.StorePath, *run.Failure) {
	text := nix.Redact(nix.PlainText(message)) // a cache's URL may contain credentials
	if i := buildersLog.FindStringIndex(text); i != nil {
		text = text[:i[0]] // the rest is reported elsewhere, and is not Nix's own text
	}
	f := &run.Failure{Kind: run.UnknownFailure, Message: onOneLine(text)}
	words := anyStorePath.ReplaceAllString(f.Message, "") // a package's name is not Nix's own text either
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

// maxMessage bounds a message, which may contain any number of paths.
const maxMessage = 4 << 10

// onOneLine joins the lines of an error. The lines after the first are needed: those of a hash mismatch are the hashes.
func onOneLine(text string) string {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "error:"))
	return printable.Cut(strings.TrimRight(strings.Join(strings.Fields(text), " "), ";: "), maxMessage)
}

// CommandFailure describes the error of a whole command. It is used if no message is about a derivation.
func CommandFailure(ctx context.Context, err error) *run.Failure {
	var exit *engine.ExitError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &run.Failure{Kind: run.TimedOut, Message: context.Cause(ctx).Error()}
	case errors.Is(err, context.Canceled):
		return &run.Failure{Kind: run.Interrupted, Message: context.Cause(ctx).Error()}
	case errors.Is(err, engine.ErrDiskFull):
		return &run.Failure{Kind: run.DiskFull, Message: err.Error()}
	case errors.Is(err, engine.ErrEngineLost):
		return &run.Failure{Kind: run.EngineLost, Message: err.Error()}
	case errors.As(err, &exit):
		_, f := Classify(nix.ErrorMessage(exit.Stderr))
		f.ExitCode = exit.Code
		if f.Message == "" {
			f.Message = exit.Error()
		}
		if signal := exit.Code - 128; signal > 0 {
			// The program's last error message is not why it ended.
			f.Kind, f.Message = run.UnknownFailure, fmt.Sprintf("%s was ended by signal %d", exit.Program, signal)
		}
		if exit.Code == 137 {
			f.Kind = run.Killed
		}
		return f
	}
	return &run.Failure{Kind: run.UnknownFailure, Message: err.Error()}
}
