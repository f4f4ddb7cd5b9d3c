package pipelines

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/buildlog"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// EvaluationError is an error of the flake: Nix ran, and could not evaluate all packages of a system.
type EvaluationError struct {
	System matrix.System
	// Failed are the packages that do not evaluate; empty if packages.<system> itself does not.
	Failed []matrix.Package
	// Text is Nix's innermost error with its position and excerpt, in several lines; or one line about all packages.
	Text string
	// At is the position of the first error, if it is in the flake's own tree.
	At *run.Line

	exit       *engine.ExitError
	noPackages bool // the flake has none for the system
}

func (e *EvaluationError) Error() string {
	return fmt.Sprintf("evaluate packages.%s: %s", e.System, e.Text)
}

// Unwrap returns how Nix ended; nil if it did not fail.
func (e *EvaluationError) Unwrap() error {
	if e.exit == nil {
		return nil // no interface that holds a nil pointer
	}
	return e.exit
}

// maxTrace is more than the longest trace of Nix, which Nix itself cuts after some thousand frames.
const maxTrace = 8 << 20

// evaluationError returns an error from what Nix printed: an [*EvaluationError] if Nix itself failed.
func evaluationError(system matrix.System, s run.Snapshot, stderr string, err error) (explained error) {
	evaluation := &EvaluationError{System: system}
	if !errors.As(err, &evaluation.exit) || killed(evaluation.exit, stderr) {
		return fmt.Errorf("evaluate packages.%s: %w", system, err)
	}
	defer func() {
		for _, advice := range hint.Of(err) { // of the engine, such as about a full disk
			explained = hint.Wrap(explained, "%s", advice)
		}
	}()
	source, _ := nix.SourcePath(s.NARHash) // without it, positions keep their whole path
	evalError := nix.ParseEvalError(nix.Redact(stderr), source)
	evaluation.Text, evaluation.At = evalError.String(), positionOf(s, evalError.Position)
	if err := disabledFeatureError(evalError.Message, evaluation); err != nil {
		return err
	}
	switch {
	case evalError.Message == "":
		evaluation.Text = evaluation.exit.Error()
	case strings.Contains(evalError.Message, "does not provide attribute"):
		none := missingPackages(system)
		none.exit = evaluation.exit
		return none.withHint()
	case s.LockHash == "" && strings.Contains(evalError.Message, "unable to download"): // Nix looks for the newest commit of an input
		return hint.Wrap(hint.Wrap(evaluation, fetchHint), lockHint)
	case strings.Contains(evalError.Message, "unable to download"):
		return hint.Wrap(evaluation, fetchHint)
	case s.LockHash == "" && lacksLock(evalError.Message):
		return hint.Wrap(evaluation, lockHint)
	case nix.NoSandbox(evalError.Message) != "":
		return hint.Wrap(evaluation, "no sandbox can be had here: run as root or with Nix's daemon; beside a secret, nothing is built without one, "+
			"unless --push-unsandboxed says that every builder is trusted")
	case strings.Contains(evalError.Message, "in restricted mode"):
		return hint.Wrap(evaluation, "evaluation reads the flake and its locked inputs, and fetches by HTTPS, SSH and from forges alone; "+
			"for an input from elsewhere: --override-input INPUT=DIR")
	case strings.Contains(evalError.Message, "requires lock file changes"):
		return hint.Wrap(evaluation, "lock the inputs and commit the result: nix flake lock")
	case len(s.Untracked) > 0 && lacksFile(evalError.Message):
		return hint.Wrap(evaluation, "Nix sees only files that git tracks; if one of these is missing: %s", addCommand(s))
	}
	return evaluation
}

// missingPackages returns the error about a system that the flake has no packages for.
func missingPackages(system matrix.System) *EvaluationError {
	return &EvaluationError{System: system, Text: fmt.Sprintf("the flake has no packages.%s", system), noPackages: true}
}

func (e *EvaluationError) withHint() error {
	return hint.Wrap(e, "leave the system out with --system, or add it to the flake")
}

// noPackages returns an error if a run has no results because the flake has no packages for any of its systems.
func noPackages(results []run.CellResult) error {
	if len(results) > 0 {
		return nil
	}
	return hint.Wrap(errors.New("the flake has no packages for any of the systems"), "nix flake show lists what it has")
}

const (
	fetchHint = "an input could not be fetched: check the network, and GitHub's limits for those without a token; then run the same command again"
	lockHint  = "the flake has no flake.lock: if it has inputs, lock them and commit the result: nix flake lock"
)

// lacksLock reports whether a message of Nix can be about an input that is not locked.
func lacksLock(message string) bool {
	return strings.Contains(message, "lock file") || strings.Contains(message, "unlocked") || strings.Contains(message, "cannot find flake")
}

// lacksFile reports whether a message of Nix is about a file that is not there. Nix 2.8 has the words of the system.
func lacksFile(message string) bool {
	return strings.Contains(message, "does not exist") || strings.Contains(message, "No such file or directory")
}

// addCommand returns the command that makes git track the untracked files of the snapshot's checkout.
func addCommand(s run.Snapshot) string {
	command := "git add --"
	if u, err := url.Parse(s.URL); err == nil && u.Scheme == "git+file" {
		command = "git -C " + hint.Quote(u.Path) + " add --"
	}
	for _, name := range s.Untracked {
		command += " " + hint.Quote(name)
	}
	return command
}

// maxNames limits the packages that a hint names.
const maxNames = 20

// missingPackage returns the error about a package that the flake does not have for the system.
func missingPackage(name matrix.Package, system matrix.System, names []string) error {
	err := &EvaluationError{System: system, Text: fmt.Sprintf("no package %s for %s", name, system)}
	var all []matrix.Package // that --package accepts
	for _, name := range names {
		if p, err := matrix.ParsePackage(name); err == nil {
			all = append(all, p)
		}
	}
	has := fmt.Sprintf("the flake has %s", cmp.Or(run.Joined(all[:min(len(all), maxNames)]), "none"))
	if len(all) > maxNames {
		has += fmt.Sprintf(" and %d more", len(all)-maxNames)
	}
	if near := hint.Nearest(string(name), all, 1); len(near) > 0 {
		return hint.Wrap(err, "did you mean --package %s? %s", hint.Quote(string(near[0])), has)
	}
	return hint.Wrap(err, "%s", has)
}

// evaluationFailure returns the failure of a package with that error, and the error's complete text.
func evaluationFailure(err error) (f *run.Failure, text string) {
	var evaluation *EvaluationError
	if errors.As(err, &evaluation) {
		return &run.Failure{Kind: run.EvaluationFailed, Message: evaluation.brief(), At: evaluation.At}, evaluation.Text
	}
	return &run.Failure{Kind: run.EvaluationFailed, Message: nix.FirstLine(err.Error())}, err.Error()
}

// brief returns the error on one line. For a derivation that the evaluation builds, the reason is on later lines.
func (e *EvaluationError) brief() string {
	message, _, _ := strings.Cut(e.Text, "\n       at ")
	if drv, f := buildlog.Classify(message); drv != "" && f.Kind != run.UnknownFailure {
		return f.Message
	}
	return nix.FirstLine(e.Text)
}

// failedEvaluation returns the error about the packages that do not evaluate, with the hints about each; nil if all do.
func failedEvaluation(system matrix.System, packages []evaluated) error {
	all := &EvaluationError{System: system}
	var texts []string
	var err error = all
	for _, p := range packages {
		if p.Failure == nil {
			continue
		}
		all.Failed = append(all.Failed, p.Package)
		if all.At == nil {
			all.At = p.Failure.At
		}
		texts = append(texts, fmt.Sprintf("%s: %s", p.Package, p.Failure.Message))
		for _, advice := range p.hints {
			err = hint.Wrap(err, "%s", advice)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	all.Text = strings.Join(texts, "; ")
	return err
}

// Position returns the line of the flake that the error is about; nil if it is unknown.
func (e *EvaluationError) Position() *run.Line { return e.At }
