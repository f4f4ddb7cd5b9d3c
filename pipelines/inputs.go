package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ChangedInputsError says that inputs of the packages have other contents than when they were added to the store.
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

// Outcome of a build that succeeded with wrong inputs.
func (e *ChangedInputsError) Outcome() run.Outcome { return run.OutcomeDifferent }

// verifyInputs compares everything that the packages may have been built from with the hashes in Nix's database. The owner
// of the store's files can have changed them, such as a builder of an earlier run without build users, in this store or in
// a container engine's volume. Nix itself compares hashes only for an export, and exports no compiler.
//
// It reads all inputs on every machine, because there may have been no build users yesterday. That costs little compared
// with a build: 658 MiB in 2,883 paths took 1.0 s of one processor, alone or through a daemon, and 14 s from a slow disk.
// It does not read a remote builder's own store, because that would have to send all of it here.
//
// Then it asks the record about the same paths: see [cell.distrustInputs].
func (c *cell) verifyInputs(ctx context.Context) error {
	var drvs []nix.StorePath
	for _, p := range c.result.Packages {
		if p.Derivation != "" && p.Verdict != run.Substituted && p.Verdict != run.Served {
			drvs = append(drvs, p.Derivation)
		}
	}
	if len(drvs) == 0 {
		return nil
	}
	// The derivations, everything below them, and the outputs of all of them that the store has.
	paths, err := c.query(ctx, drvs, "--query", "--include-outputs", "--requisites")
	if err != nil {
		return fmt.Errorf("list build inputs: %w", err)
	}
	check := &inputCheck{now: c.Now, shown: c.Now().Add(firstProgress - nextProgress), report: func(n int) {
		c.Event(run.Notice{System: c.System, Level: run.Info, Text: fmt.Sprintf("verifying build inputs: %d of %d", n, len(paths))})
	}}
	for some := range slices.Chunk(paths, verifiedAtOnce) {
		args := append([]string{"--verify-path", "-v"}, words(some)...)
		_, err := c.exec.Run(ctx, engine.Command{Program: "nix-store", Args: args, Settings: c.Settings, Stderr: check})
		if exit := (*engine.ExitError)(nil); err != nil && (!errors.As(err, &exit) || len(check.changed) == 0) {
			return fmt.Errorf("verify build inputs: %w", err)
		}
	}
	if len(check.changed) == 0 {
		return c.distrustInputs(ctx, paths)
	}
	return hint.Wrap(&ChangedInputsError{System: c.System, Paths: check.changed},
		"nix-store --repair-path %s; then delete what was built from it since, and build again: docs/operations.md, exit code 3", check.changed[0])
}

// withholdChanged sets that nothing is published if err says that inputs were changed.
func (r *Release) withholdChanged(c *cell, err error) {
	if changed := (*ChangedInputsError)(nil); errors.As(err, &changed) && r.Publish.To != nil {
		c.result.Publish = &run.PublishResult{Verdict: run.Withheld, Cache: r.Publish.To.Name(), Reason: changed.Error()}
	}
}

const (
	// verifiedAtOnce keeps the command line below the kernel's limit of 2 MiB.
	verifiedAtOnce = 2000

	firstProgress = 2 * time.Second
	nextProgress  = 10 * time.Second
)

// pathWasModified matches the message of Nix 2.8 to 2.34 about a store object with another hash.
var pathWasModified = regexp.MustCompile(`path '(/nix/store/[^']+)' was modified!`)

// inputCheck reads the output of nix-store --verify-path -v: a line before each path, and one about each changed path.
type inputCheck struct {
	now     func() time.Time
	shown   time.Time
	report  func(n int) // the number of paths that were read
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

// maxCheckLine is more than a line about a path.
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
