package nix

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"zombiezen.com/go/nix"
)

// A trace's frame begins with a position, "at /nix/store/…-source/flake.nix:19:9:", and goes on with an excerpt of the file.
var (
	position    = regexp.MustCompile(`^\s*at (\S.*:\d+:\d+):?$`)
	excerptLine = regexp.MustCompile(`^\s*\d*\|`)
	errorLine   = regexp.MustCompile(`(?m)^error:`)
)

// EvalError is what Nix says of an evaluation that failed, without the trace that led there.
type EvalError struct {
	// Message is the innermost error; often of several lines.
	Message string
	// Position is "file:line:column" of the frame that is nearest to the error in the flake's own source, relative to it.
	// Where none is in the flake's own source, it is that of the nearest frame, with its whole path; empty where there is no frame.
	Position string
	// Excerpt is the lines around the position, as Nix shows them.
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

// ParseEvalError reads what Nix wrote to its standard error, preferably with --show-trace.
// Up to 2.13 it gives the error first and the innermost frame after it; newer ones end with the innermost frame and the error.
// The source is the flake's own, whose frames are those that its author can change.
func ParseEvalError(stderr string, source StorePath) EvalError {
	text := PlainText(stderr)
	message, framesText, innermostFirst := splitError(text)
	e := EvalError{Message: message}
	frames := parseFrames(framesText)
	if !innermostFirst {
		slices.Reverse(frames)
	}
	// A store at another root shows the path below that root.
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

// splitError returns the message of the innermost error, and the text that has the frames in it.
func splitError(text string) (message, frames string, innermostFirst bool) {
	// Before it there may be warnings that quote other errors: "warning: error: unable to download …; retrying".
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
	// The error's own frame, where it has one, is the last of all.
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
	return slices.DeleteFunc(frames, func(f frame) bool { return strings.HasPrefix(f.position, "«") }) // of our own expression
}

// ErrorMessage returns the innermost error of what Nix wrote to its standard error; empty where there is none.
// Of a log in the internal-json format it is the last error; the protocol itself is no message.
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

// SourcePath returns the path at which Nix keeps a source tree of the NAR hash ("sha256-…=") and the name "source".
func SourcePath(narHash string) (StorePath, error) {
	h, err := nix.ParseHash(narHash)
	if err != nil {
		return "", fmt.Errorf("find source path: %v", err)
	}
	if h.Type() != nix.SHA256 {
		return "", fmt.Errorf("find source path: %s is not SHA-256", narHash)
	}
	return contentPath("source", [sha256.Size]byte(h.Bytes(nil)), "source"), nil
}
