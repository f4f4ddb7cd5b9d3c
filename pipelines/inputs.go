package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ChangedInputsError says that the store has other contents than it had when they were added, under paths that the
// packages were built from.
type ChangedInputsError struct {
	System matrix.System
	Paths  []nix.StorePath
}

func (e *ChangedInputsError) Error() string {
	text := fmt.Sprintf("what the packages are built from was changed: %s is not what was added to the store", e.Paths[0])
	if more := len(e.Paths) - 1; more > 0 {
		text += fmt.Sprintf("; and %s more", run.Count(more, "path"))
	}
	return text
}

// Outcome of a build that went well, from inputs that are not the ones that they should be.
func (e *ChangedInputsError) Outcome() run.Outcome { return run.OutcomeDifferent }

// verifyInputs compares all that the packages may have been built from with the hashes that the store has of it. Whoever
// owns the store's files can have changed them: a builder of an earlier run where there were no build users, in this
// store or in the volume of a container engine. Nix itself looks at hashes only when it exports, and so at no compiler.
//
// All of it is read, on every machine: there may have been no build users yesterday. It costs little beside a build:
// 658 MiB in 2,883 paths took 1.0 s of one processor, alone or through a daemon; 14 s where all of it came from a slow
// disk. A remote builder's own store is not read, since all of it would have to be sent here.
//
// Then the record is asked for the same paths: see [Release.distrustInputs].
func (r *Release) verifyInputs(ctx context.Context, x engine.Executor, system matrix.System, packages []run.PackageResult) error {
	var drvs []nix.StorePath
	for _, p := range packages {
		if p.Derivation != "" && p.Verdict != run.Substituted && p.Verdict != run.Served {
			drvs = append(drvs, p.Derivation)
		}
	}
	if len(drvs) == 0 {
		return nil
	}
	// The derivations, all that is below them, and those of all their outputs that the store has.
	paths, err := r.queryPaths(ctx, x, append([]string{"--query", "--include-outputs", "--requisites"}, words(drvs)...))
	if err != nil {
		return fmt.Errorf("list build inputs: %w", err)
	}
	check := &inputCheck{now: r.Now, shown: r.Now().Add(firstProgress - nextProgress), report: func(n int) {
		r.Event(run.Notice{System: system, Level: run.Info, Text: fmt.Sprintf("verifying build inputs: %d of %d", n, len(paths))})
	}}
	for rest := paths; len(rest) > 0; {
		some := rest[:min(len(rest), verifiedAtOnce)]
		rest = rest[len(some):]
		args := append([]string{"--verify-path", "-v"}, words(some)...)
		_, err := x.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: r.Settings, Stderr: check})
		if exit := (*engine.ExitError)(nil); err != nil && (!errors.As(err, &exit) || len(check.changed) == 0) {
			return fmt.Errorf("verify build inputs: %w", err)
		}
	}
	if len(check.changed) == 0 {
		return r.distrustInputs(ctx, x, system, paths)
	}
	return hint.Wrap(&ChangedInputsError{System: system, Paths: check.changed},
		"nix-store --repair-path %s; then delete what was built from it since, and build again: docs/operations.md, exit code 3", check.changed[0])
}

// withholdChanged notes in the result that nothing is published, where err is that inputs were changed.
func (r *Release) withholdChanged(result *run.CellResult, err error) {
	if changed := (*ChangedInputsError)(nil); errors.As(err, &changed) && r.Publish.To != nil {
		result.Publish = &run.PublishResult{Verdict: run.Withheld, Cache: r.Publish.To.Name(), Reason: changed.Error()}
	}
}

const (
	// verifiedAtOnce keeps the command line below the kernel's limit of 2 MiB.
	verifiedAtOnce = 2000

	firstProgress = 2 * time.Second
	nextProgress  = 10 * time.Second
)

// pathWasModified is what Nix 2.8 to 2.34 says of a store object with another hash.
var pathWasModified = regexp.MustCompile(`path '(/nix/store/[^']+)' was modified!`)

// inputCheck reads what nix-store --verify-path -v writes: a line before each path, and one for each that was changed.
type inputCheck struct {
	now     func() time.Time
	shown   time.Time
	report  func(n int) // how many paths were read
	n       int
	line    []byte
	changed []nix.StorePath
}

func (c *inputCheck) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		c.line = append(c.line, part[:min(len(part), maxCheckLine-len(c.line))]...)
		if rest = after; whole {
			c.take(string(c.line))
			c.line = c.line[:0]
		}
	}
	return len(p), nil
}

// maxCheckLine is more than Nix writes about a path.
const maxCheckLine = 4 << 10

func (c *inputCheck) take(line string) {
	if bytes.HasPrefix(c.line, []byte("checking path")) {
		c.n++
	}
	if m := pathWasModified.FindStringSubmatch(nix.PlainText(line)); m != nil {
		c.changed = append(c.changed, nix.StorePath(m[1]))
	}
	if now := c.now(); now.Sub(c.shown) >= nextProgress {
		c.shown = now
		c.report(c.n)
	}
}
