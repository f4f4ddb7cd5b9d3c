package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// consent decides whether the settings of a flake that extend trust apply. The flake may be a stranger's.
type consent struct {
	process process
	record  *record.Record
	notify  func(run.Notice)
}

// consentKey is the key of a consent in the record. The value is a [project.Trust]: other settings need consent again.
type consentKey struct {
	Consent string // the flake, without its revision
}

// agreed reports whether the user consents. On GitHub the event decides: the tree has to be of a commit of the event, and
// not a stranger's. Elsewhere it is the flag, an earlier consent, or an answer on the terminal.
func (c consent) agreed(ctx context.Context, o *options, tree run.Snapshot, p project.Project) (bool, error) {
	if c.process.job().Here() {
		t := c.process.job().Trigger()
		return t.Stranger() == "" && (o.acceptConfig || t.Has(tree.Rev)), nil
	}
	id, err := identity(o.project.Flake, tree)
	if err != nil {
		return false, err
	}
	key := consentKey{id}
	if !o.acceptConfig {
		var remembered project.Trust
		found, err := c.record.Cell(key, &remembered)
		if err != nil || found && sameTrust(remembered, p.Trust) {
			return err == nil, err
		}
		if !c.record.Writable() || !c.process.canAsk() {
			return false, nil
		}
		if yes, err := c.ask(ctx, o.project.Flake, p); err != nil || !yes {
			return false, err
		}
	}
	if !c.record.Writable() {
		return true, nil
	}
	return true, c.record.SetCell(key, p.Trust)
}

// identity returns the flake that a consent is about: its reference without the revision; for a directory of this machine,
// its path without links.
func identity(text string, tree run.Snapshot) (string, error) {
	ref, err := flake.ParseRef(text)
	if err != nil {
		return "", usage(err)
	}
	if ref.Path != "" {
		dir, err := filepath.Abs(ref.Path)
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		return strings.Join([]string{string(ref.Kind), dir, tree.Subdir}, "\x00"), err // a name can have a space
	}
	ref.Ref, ref.Rev, ref.DirtyRev, ref.NARHash, ref.LastModified = "", "", "", "", 0
	return ref.String(), nil
}

// sameTrust compares settings as the record has them: an empty list is the same as none.
func sameTrust(a, b project.Trust) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// ask shows the settings, and reads the answer. No answer is no.
func (c consent) ask(ctx context.Context, ref string, p project.Project) (bool, error) {
	fmt.Fprintf(c.process.stderr, "%s of %s has settings that extend trust:\n", project.FileName, printable.Line(shownRef(ref)))
	extends := p.Extends()
	for _, s := range p.Settings() {
		if slices.Contains(extends, s.Name) {
			fmt.Fprintf(c.process.stderr, "  %s = %s\n", s.Name, printable.Line(s.Value))
		}
	}
	fmt.Fprintln(c.process.stderr, "They choose what this machine fetches and trusts, where it builds, and where it sends results.")
	c.process.discardTyped()
	yes := false
	err := c.process.ask(ctx, "Accept them? Type yes:", func(answer string) error {
		yes = answer == "yes"
		return nil
	})
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return yes && err == nil, nil
}
