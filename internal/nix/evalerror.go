package nix

import (
	"regexp"
	"slices"
	"strings"
)

// A frame of a trace begins with a position, "at /nix/store/…-source/flake.nix:19:9:", followed by an excerpt of the file.
var (
	position    = regexp.MustCompile(`^\s*at (\S.*:\d+:\d+):?$`)
	excerptLine = regexp.MustCompile(`^\s*\d*\|`)
	errorLine   = regexp.MustCompile(`(?m)^error:`)
)

// EvalError is the error of an evaluation, without its trace.
type EvalError struct {
	// Message is that of the innermost error, often with several lines.
	Message string
	// Position is "file:line:column" of the frame nearest to the error in the flake's own source, relative to it. Where no
	// frame is in the flake's own source, it is that of the nearest frame, with its whole path; empty without frames.
	Position string
	// Excerpt has the lines around the position, as Nix shows them.
	Excerpt []string
}

// String returns message, position and excerpt as Nix arranges them.
func (e EvalError) String() string {
	text := e.Message
	if e.Position != "" {
		text += "\n       at " + e.Position + ":"
	}
	for _, line := range e.Excerpt {
		text += "\n" + line
	}
	return text
}

// ParseEvalError parses the standard error of Nix, preferably with --show-trace. Up to version 2.13 it has the error and
// then the innermost frame; newer versions end with the innermost frame and the error. Source is the flake's own tree:
// its author can change the code in its frames.
func ParseEvalError(stderr string, source StorePath) EvalError {
	text := PlainText(stderr)
	message, framesText, innermostFirst := splitError(text)
	e := EvalError{Message: message}
	frames := parseFrames(framesText)
	if !innermostFirst {
		slices.Reverse(frames)
	}
	// In a store at another root, the path is below that root.
	own := string(source) + "/"
	if source != "" {
		e.Message = strings.ReplaceAll(e.Message, own, "")
	}
	if i := slices.IndexFunc(frames, func(f frame) bool { return source != "" && strings.Contains(f.position, own) }); i >= 0 {
		_, e.Position, _ = strings.Cut(frames[i].position, own)
		e.Excerpt = frames[i].excerpt
	} else if len(frames) > 0 {
		e.Position, e.Excerpt = frames[0].position, frames[0].excerpt
	}
	return e
}

// splitError returns the message of the innermost error, and the text with the frames.
func splitError(text string) (message, frames string, innermostFirst bool) {
	// There may be warnings before it that quote other errors: "warning: error: unable to download …; retrying".
	start := errorLine.FindStringIndex(text)
	if start == nil {
		return FirstLine(text), "", true
	}
	rest := text[start[1]:]
	if line, _, _ := strings.Cut(rest, "\n"); strings.TrimSpace(line) != "" && !strings.Contains(rest, "\n       error:") {
		return untilFrame(rest), rest, true
	}
	last := strings.LastIndex(rest, "error:")
	if last < 0 {
		return untilFrame(rest), rest, true
	}
	// The error's own frame, if it has one, is the last.
	return untilFrame(rest[last+len("error:"):]), rest, false
}

// untilFrame returns the lines of a message before its first frame.
func untilFrame(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\n")
		if position.MatchString(line) || strings.HasPrefix(strings.TrimSpace(line), "…") {
			break
		}
		if strings.Contains(line, "(use '--show-trace'") || strings.Contains(line, "(stack trace truncated") {
			continue
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

type frame struct {
	position string
	excerpt  []string
}

func parseFrames(text string) []frame {
	var frames []frame
	open := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\n")
		if m := position.FindStringSubmatch(line); m != nil {
			frames = append(frames, frame{position: m[1]})
			open = true
			continue
		}
		switch {
		case open && excerptLine.MatchString(line):
			f := &frames[len(frames)-1]
			f.excerpt = append(f.excerpt, line)
		case strings.TrimSpace(line) != "":
			open = false
		}
	}
	return slices.DeleteFunc(frames, func(f frame) bool { return strings.HasPrefix(f.position, "«") }) // of an expression of this program
}

// ErrorMessage returns the innermost error in the standard error of Nix; empty if there is none. In a log in the
// internal-json format it is the last error.
func ErrorMessage(stderr string) string {
	if !strings.Contains(stderr, string(logPrefix)) {
		return ParseEvalError(stderr, "").Message
	}
	message := ""
	for line := range strings.Lines(stderr) {
		switch e := ParseLogEntry([]byte(line)); {
		case e.Action == LogMessage && e.Level == 0, e.IsPlainError():
			message = ParseEvalError(e.ErrorText(), "").Message
		}
	}
	return message
}
