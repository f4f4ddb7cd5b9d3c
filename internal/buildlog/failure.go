package buildlog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// phrases are texts of other programs with their meanings, the most specific first.
type phrases []struct {
	means string
	texts []string
}

// meaning returns the meaning of the most specific phrase in a text, and its place in the list; without one, nothing and the
// length of the list.
func (p phrases) meaning(text string) (string, int) {
	for i, phrase := range p {
		if slices.ContainsFunc(phrase.texts, func(part string) bool { return strings.Contains(text, part) }) {
			return phrase.means, i
		}
	}
	return "", len(p)
}

// failurePhrases find the kind of a failure by the words of Nix's own message.
// The words changed in Nix 2.31 ("Cannot build … Reason: …"); both forms are matched.
var failurePhrases = phrases{
	{string(run.HashMismatch), []string{"hash mismatch in fixed-output derivation"}},
	{string(run.NotReproducible), []string{"may not be deterministic"}},
	{string(run.DiskFull), []string{
		"No space left on device", "database or disk is full", "lack of free disk space", // less than 8 MiB
	}},
	{string(run.EngineLost), []string{"Nix daemon disconnected unexpectedly", "unexpected end-of-file"}},
	{string(run.TimedOut), []string{"timed out after"}},
	{string(run.LogLimit), []string{"killed after writing more than"}},
	{string(run.UnsupportedFailure), []string{
		"is required to build", "missing system features", "platform mismatch", "required system or feature not available",
	}},
	{string(run.OutputRefused), []string{
		"not allowed to refer to", "not allowed to have direct", "cycle detected in", "failed to produce output",
		"has an unsupported type", "has unsupported type", "suspicious ownership or permission", "is larger than the limit",
	}},
	{string(run.DependencyFailed), []string{"dependencies of derivation", "dependency failed", "dependencies failed"}},
	{string(run.SubstituterFailed), []string{"some substitutes for the outputs", "unable to download", "substituter"}},
	{string(run.Killed), []string{"due to signal 9", "exit code 137"}},
	{string(run.BuilderFailed), []string{"failed with exit code", "due to signal"}},
	{string(run.UnknownFailure), []string{""}},
}

// Classify reads an error message of Nix. It returns the derivation that the message is about, or an empty path.
func Classify(message string) (nix.StorePath, *run.Failure) {
	text := nix.Redact(nix.PlainText(message)) // a cache's URL may contain credentials
	if i := buildersLog.FindStringIndex(text); i != nil {
		text = text[:i[0]] // the rest is reported elsewhere, and is not Nix's own text
	}
	f := &run.Failure{Message: onOneLine(text)}
	words := anyStorePath.ReplaceAllString(f.Message, "") // a package's name is not Nix's own text either
	kind, _ := failurePhrases.meaning(words)
	f.Kind = run.FailureKind(kind)
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

var (
	// sourceLine matches a source location of a compiler or a test harness: "core-ipc/src/lib.rs:88:9", "src/main.c:12".
	sourceLine = regexp.MustCompile(`([\w@+./-]*[\w@+-]\.\w+):(\d+)(?::\d+)?`)
	// errorWords match a line about an error, as opposed to a warning or progress.
	errorWords = regexp.MustCompile(`(?i)\berror\b|\bpanicked at\b|\bfatal\b|\bassertion\b|--- FAIL`)
	// buildDir is the directory into which a builder unpacks the sources, with or without a sandbox.
	buildDir = regexp.MustCompile(`^(?:/private)?/(?:build|tmp/nix-build-[^/]+|nix/var/nix/builds/[^/]+(?:/build)?)/[^/]+/`)
)

// sourceLocation finds the first line of the flake's tree that the end of a build's log names together with an error.
// Rust prints the location on the line after the error.
func sourceLocation(s run.Snapshot, tail []string) *run.Line {
	isError := false
	for _, text := range tail {
		wasError := isError
		isError = errorWords.MatchString(text)
		if !isError && !(wasError && strings.HasPrefix(strings.TrimSpace(text), "-->")) {
			continue
		}
		for _, m := range sourceLine.FindAllStringSubmatch(text, -1) {
			if l := run.LineIn(s, buildDir.ReplaceAllString(m[1], ""), m[2]); l != nil {
				return l
			}
		}
	}
	return nil
}

// location is the line of the flake that a failed build is about: the one that its log names, or else the definition of the
// package.
func (l *Log) location(b *build) *run.Line {
	if at := sourceLocation(l.Snapshot, b.log.tail); at != nil {
		return at
	}
	for _, p := range l.Packages {
		if p.Derivation == b.drv {
			return p.Defined
		}
	}
	return nil
}
