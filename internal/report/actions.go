package report

import (
	"bytes"
	"io"
	"strings"

	"github.com/sethvargo/go-githubactions"
)

// Actions is [Lines] for a job of GitHub Actions: what succeeded is folded, what failed never is,
// and failures and warnings become annotations.
type Actions struct{ *Lines }

// NewActions returns a reporter that writes to w, the job's standard output or error, until it is closed.
func NewActions(w io.Writer, opts Options) *Actions {
	a := &Actions{newLines(w, opts)}
	a.style.runner = true
	a.show = a.fold
	go a.beat()
	return a
}

func (a *Actions) fold(b block) []string {
	lines := a.style.render(b)
	switch {
	case b.folds() && len(lines) > 1:
		group := command(func(c *githubactions.Action) { c.Group(lines[0]) })
		end := command(func(c *githubactions.Action) { c.EndGroup() })
		return append(append([]string{group}, lines[1:]...), end)
	case b.mark == failed:
		return append(lines, command(func(c *githubactions.Action) { c.WithFieldsMap(a.style.fields(b)).Errorf("%s", a.message(b)) }))
	case b.mark == warning:
		// The runner shows the annotation in the log too, in place of the line.
		notice := command(func(c *githubactions.Action) { c.WithFieldsMap(a.style.fields(b)).Warningf("%s", a.message(b)) })
		b.why = nil
		return append([]string{notice}, a.style.render(b)[1:]...)
	}
	return lines
}

// message is the text of a block's annotation, which is shown far away from its log.
func (a *Actions) message(b block) string {
	text := []string{strings.Join(strings.Fields(a.style.clean(b.head)), " ")}
	for _, why := range b.why {
		for line := range strings.Lines(why) {
			text = append(text, a.style.clean(line))
		}
	}
	return strings.Join(text, "\n")
}

// command returns a workflow command as a line. The library panics where it cannot write,
// so it writes to memory: a log that is gone must not fail a build.
func command(issue func(*githubactions.Action)) string {
	var line bytes.Buffer
	issue(githubactions.New(githubactions.WithWriter(&line)))
	return strings.TrimRight(line.String(), "\r\n")
}
