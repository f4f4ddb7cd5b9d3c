package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// JSON writes one JSON object a line: the time in UTC, the event's name, and the event's own fields.
//
//	{"time":"2026-07-27T14:12:00.5Z","event":"step-started","step":"plan","system":"x86_64-linux"}
type JSON struct {
	mu  sync.Mutex
	w   io.Writer
	err error
	// broken says that a write has failed, so that the stream ends here rather than with a hole in it.
	broken bool
}

// NewJSON returns a reporter that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: w} }

// Report writes e.
func (j *JSON) Report(at time.Time, e pipelines.Event) {
	line, err := encode(at, e)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && !j.broken {
		if _, err = j.w.Write(line); err != nil {
			j.broken = true
		}
	}
	if err != nil && j.err == nil {
		j.err = fmt.Errorf("write event %s: %w", eventName(e), err)
	}
}

// Err returns the first error, if any.
func (j *JSON) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close returns what Err does. The writer stays open.
func (j *JSON) Close() error { return j.Err() }

func encode(at time.Time, e pipelines.Event) ([]byte, error) {
	var fields bytes.Buffer
	enc := json.NewEncoder(&fields)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, `{"time":%q,"event":%q`, at.UTC().Format(time.RFC3339Nano), eventName(e))
	rest := fields.Bytes()[1:] // without the brace that opens it
	if rest[0] != '}' {
		line = append(line, ',')
	}
	return escapeForScreens(append(line, rest...)), nil
}

// escapeForScreens escapes what JSON need not escape but a terminal or GitHub's runner would act upon,
// since standard output may well be one of them. The values stay the same.
func escapeForScreens(line []byte) []byte {
	line = bytes.ReplaceAll(line, []byte("##["), []byte(`##\u005b`))
	if bytes.IndexFunc(line, isC1) < 0 {
		return line
	}
	var escaped []byte
	for _, r := range string(line) {
		if isC1(r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		} else {
			escaped = append(escaped, string(r)...)
		}
	}
	return escaped
}

// isC1 tells the control characters above ASCII, of which U+009B begins an escape sequence, and DEL.
func isC1(r rune) bool { return r >= 0x7f && r < 0xa0 }

// eventName returns the name of e's type in kebab case.
func eventName(e pipelines.Event) string {
	var name strings.Builder
	for i, r := range reflect.Indirect(reflect.ValueOf(e)).Type().Name() {
		if i > 0 && unicode.IsUpper(r) {
			name.WriteByte('-')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}
