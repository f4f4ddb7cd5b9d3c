package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Actions is [Lines] for a job of GitHub Actions. Only successes are collapsed. Failures and warnings become annotations,
// with their line of the flake if it is known.
//
// GitHub does not support nested or concurrent groups. If the run builds one system, as in a job of a matrix, each step is a
// group; if it builds several systems at the same time, each block is a group.
type Actions struct {
	*Lines
	single bool   // one system is built
	open   string // the group that is open; empty for none
	// annotated are the steps with a part that has an annotation, so that their ends need none.
	annotated []stepOf
}

type stepOf struct {
	step   run.Step
	system matrix.System
}

// NewActions returns a reporter that writes to w, the job's standard output or error, until it is closed.
func NewActions(w io.Writer, opts Options) *Actions {
	a := &Actions{Lines: newLines(w, opts)}
	a.show = a.fold
	a.start()
	return a
}

func (a *Actions) Report(at time.Time, e run.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress.apply(at, e)
	switch e := e.(type) {
	case run.RunStarted:
		a.single = len(e.Cells) == 1
	case run.StepStarted:
		a.annotated = slices.DeleteFunc(a.annotated, func(s stepOf) bool { return s == stepOf{e.Step, e.System} })
	case run.RunFinished:
		a.write(a.endGroup())
	case run.HashWrong:
		a.write(a.hashWrong(e))
	}
	a.write(eventLines(e, &a.progress, a.style, a.opts.Verbose, a.block))
}

// block returns the lines of a block, and records the step of its annotation.
func (a *Actions) block(b block) []shown {
	of := stepOf{b.step, b.system}
	if b.mark == failed && b.step != "" && !slices.Contains(a.annotated, of) {
		a.annotated = append(a.annotated, of)
	}
	b.mute = b.ends != "" && slices.Contains(a.annotated, stepOf{b.ends, b.system})
	return a.show(b)
}

func (a *Actions) fold(b block) []shown {
	loud := b.mark == failed || b.mark == warning
	if a.single && b.step != "" && !loud {
		return append(a.beginGroup(fmt.Sprintf("%s %s", b.step, b.system)), a.style.render(b)...)
	}
	return append(a.endGroup(), a.alone(b)...)
}

// alone returns the lines of a block that is not in the group of a step.
func (a *Actions) alone(b block) []shown {
	lines := a.style.render(b)
	switch {
	case b.collapsible() && len(lines) > 1:
		return slices.Concat([]shown{groupLine(lines[0])}, lines[1:], []shown{endGroupLine()})
	case b.mark == failed && !b.mute:
		return append(lines, a.annotation(b, (*githubactions.Action).Errorf))
	case b.mark == warning:
		// The runner shows the annotation in the log too, so it replaces the headline.
		notice := a.annotation(b, (*githubactions.Action).Warningf)
		b.why = nil
		return append([]shown{notice}, a.style.render(b)[1:]...)
	}
	return lines
}

func (a *Actions) beginGroup(name string) []shown {
	if a.open == name {
		return nil
	}
	lines := append(a.endGroup(), groupLine(a.style.clean(name)))
	a.open = name
	return lines
}

func (a *Actions) endGroup() []shown {
	if a.open == "" {
		return nil
	}
	a.open = ""
	return []shown{endGroupLine()}
}

// hashWrong annotates each line of the flake that has a wrong hash.
func (a *Actions) hashWrong(e run.HashWrong) []shown {
	lines := a.endGroup()
	for _, place := range e.Positions {
		b := block{head: "the hash should be " + e.Got, why: []string{"specified: " + e.Specified, "fix: " + place.Text}, at: &run.Line{File: place.File, Line: place.Line}}
		lines = append(lines, a.annotation(b, (*githubactions.Action).Errorf))
	}
	return lines
}

// annotation is a block in the form that GitHub shows outside of the log.
func (a *Actions) annotation(b block, level func(c *githubactions.Action, format string, args ...any)) shown {
	text := []string{strings.Join(strings.Fields(string(a.style.clean(b.head))), " ")}
	for _, why := range b.why {
		for line := range strings.Lines(why) {
			text = append(text, string(a.style.clean(line)))
		}
	}
	if b.mark == failed {
		b.log = last(b.log, annotationTail)
	} else {
		b.log = nil // the log has it
	}
	for _, line := range b.log {
		text = append(text, string(a.style.clean(printable.LastDrawn(line))))
	}
	return command(func(c *githubactions.Action) {
		level(c.WithFieldsMap(a.style.fields(b)), "%s", strings.Join(text, "\n"))
	})
}

const annotationTail = 8

func groupLine(name shown) shown {
	return command(func(c *githubactions.Action) { c.Group(string(name)) })
}

func endGroupLine() shown { return command((*githubactions.Action).EndGroup) }

// minMaskLength is the shortest text to hide. Shorter values would match ordinary text.
const minMaskLength = 8

// Mask makes GitHub's runner, which reads w and removes these commands, hide secrets in all later output: the whole
// secret, each line, and the base64 part of a key "name:base64".
func Mask(w io.Writer, secrets []string) error {
	var masks []string
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= minMaskLength && !slices.Contains(masks, text) {
			masks = append(masks, text)
		}
	}
	for _, secret := range secrets {
		add(secret)
		for line := range strings.Lines(secret) {
			add(line)
			if _, key, found := strings.Cut(strings.TrimSpace(line), ":"); found {
				add(key)
			}
		}
	}
	for _, mask := range masks {
		if err := outputOf(w).show(maskCommand(mask) + "\n"); err != nil {
			return fmt.Errorf("mask secrets: %w", err)
		}
	}
	return nil
}
