package nix

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// LogAction is the kind of a line in Nix's internal-json log.
type LogAction string

// The actions of a log line.
const (
	LogStart   LogAction = "start"
	LogStop    LogAction = "stop"
	LogResult  LogAction = "result"
	LogMessage LogAction = "msg"
	// LogPlain is not an action of Nix: it marks a line that is not in the internal-json format.
	LogPlain LogAction = "plain"
)

// Types of activities (of start lines), as src/libutil/logging.hh of Nix numbers them.
const (
	ActivityCopyPath     = 100
	ActivityFileTransfer = 101
	ActivityBuilds       = 104
	ActivityBuild        = 105
	ActivitySubstitute   = 108
)

// Types of results, from the same place.
const (
	ResultBuildLogLine = 101
	ResultSetPhase     = 104
	ResultProgress     = 105
)

// LogEntry is one line of the output of Nix with --log-format internal-json.
type LogEntry struct {
	Action LogAction `json:"action"`
	ID     uint64    `json:"id"`
	// Level is 0 for errors and 1 for warnings; higher levels are less important.
	Level int `json:"level"`
	// Type is one of the Activity or Result numbers, by Action.
	Type int    `json:"type"`
	Text string `json:"text"`
	Msg  string `json:"msg"`
	// RawMsg is Msg without its "error:" frame and excerpt; only of errors, since Nix 2.4.
	RawMsg string `json:"raw_msg"`
	Fields []any  `json:"fields"`
}

// String returns field i if it is a string, else "".
func (e *LogEntry) String(i int) string {
	if i < len(e.Fields) {
		s, _ := e.Fields[i].(string)
		return s
	}
	return ""
}

// Int returns field i if it is a number, else 0.
func (e *LogEntry) Int(i int) int64 {
	if i < len(e.Fields) {
		f, _ := e.Fields[i].(float64)
		return int64(f)
	}
	return 0
}

// IsPlainError reports whether the line is an error that Nix wrote outside of the internal-json format.
func (e *LogEntry) IsPlainError() bool {
	return e.Action == LogPlain && strings.HasPrefix(PlainText(e.Text), "error:")
}

// ErrorText returns the text of an error, without its frame if Nix separates it.
func (e *LogEntry) ErrorText() string { return cmp.Or(e.RawMsg, e.Msg, e.Text) }

var logPrefix = []byte("@nix ")

// ParseLogEntry parses one line. It never fails: a line in another form becomes a [LogPlain] entry with the line as Text.
// Such lines are warnings of the dynamic loader, of SSH or of an emulator.
func ParseLogEntry(line []byte) LogEntry {
	line = bytes.TrimRight(line, "\r\n")
	if rest, ok := bytes.CutPrefix(line, logPrefix); ok {
		if e, ok := parseBuildLogLine(rest); ok {
			return e
		}
		if e, ok := parseAnyEntry(rest); ok {
			return e
		}
	}
	return LogEntry{Action: LogPlain, Text: string(line)}
}

func parseAnyEntry(data []byte) (e LogEntry, ok bool) {
	err := json.Unmarshal(data, &e)
	return e, err == nil && e.Action != ""
}

var (
	buildLogLineStart = []byte(`{"action":"result","fields":["`)
	buildLogLineID    = []byte(`"],"id":`)
	buildLogLineEnd   = []byte(`,"type":101}`)
)

// parseBuildLogLine parses a line of a build's log in the exact form in which Nix writes it, if it has no escapes. Most
// lines of a log are such lines, and a log of 200 MB has three million. This takes a seventh of the time of encoding/json.
// False means that [parseAnyEntry] has to parse the line.
func parseBuildLogLine(data []byte) (e LogEntry, ok bool) {
	data, starts := bytes.CutPrefix(data, buildLogLineStart)
	data, ends := bytes.CutSuffix(data, buildLogLineEnd)
	text, id, cut := bytes.Cut(data, buildLogLineID)
	if !starts || !ends || !cut || !isVerbatim(text) || len(id) > 1 && id[0] == '0' {
		return LogEntry{}, false
	}
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return LogEntry{}, false
	}
	return LogEntry{Action: LogResult, ID: n, Type: ResultBuildLogLine, Fields: []any{string(text)}}, true
}

// isVerbatim reports whether the content of a JSON string is the string itself.
func isVerbatim(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.Valid(text)
}

// maxLogLine is how much of one line is kept. Nix itself keeps a whole line in memory before it writes it.
const maxLogLine = 64 << 20

// LogWriter splits its input into lines, parses each line, and calls Entry with the result. It shortens a long line and
// marks the cut. It is not safe for concurrent use. Flush handles a last line without a line break.
type LogWriter struct {
	Entry   func(LogEntry)
	partial []byte
	end     []byte // the last bytes of a line that is longer than partial
	dropped int64  // bytes of the line in neither
	limit   int    // maxLogLine, or less in a test
}

func (w *LogWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if line := p[:i]; len(w.partial) > 0 {
			w.add(line)
			w.Flush()
		} else {
			w.Entry(ParseLogEntry(line))
		}
		p = p[i+1:]
	}
	w.add(p)
	return n, nil
}

// lineEnd is more than the length of what follows the text in a line of a build log.
const lineEnd = 128

// add appends to the unfinished line.
func (w *LogWriter) add(p []byte) {
	if w.limit == 0 {
		w.limit = maxLogLine
	}
	room := max(0, min(w.limit-len(w.partial), len(p)))
	w.partial = append(w.partial, p[:room]...)
	p = p[room:]
	w.dropped += int64(len(p))
	w.end = append(w.end, p[max(0, len(p)-lineEnd):]...)
	w.end = w.end[max(0, len(w.end)-lineEnd):]
}

// Flush handles the input since the last line break as a line.
func (w *LogWriter) Flush() {
	if len(w.partial) > 0 {
		w.Entry(ParseLogEntry(w.line()))
	}
	w.partial, w.end, w.dropped = w.partial[:0], w.end[:0], 0
	if cap(w.partial) > 1<<20 {
		w.partial = nil // long lines are rare
	}
}

// line returns the line, shortened if it is too long. In a line of a build log, only the text is shortened.
func (w *LogWriter) line() []byte {
	if w.dropped == 0 {
		return w.partial
	}
	head, tail := w.partial, []byte(nil)
	if bytes.HasPrefix(head, slices.Concat(logPrefix, buildLogLineStart)) {
		if i := bytes.LastIndex(w.end, buildLogLineID); i >= 0 {
			tail = w.end[i:]
		}
		// The cut may be inside an escape sequence or a character.
		if i := bytes.LastIndexByte(head[len(head)-8:], '\\'); i >= 0 {
			head = bytes.TrimRight(head[:len(head)-8+i], `\`)
		}
		head = bytes.ToValidUTF8(head, nil)
	}
	return fmt.Appendf(head, " [%d bytes of this line are left out]%s", w.dropped+int64(len(w.partial)-len(head)-len(tail)), tail)
}
