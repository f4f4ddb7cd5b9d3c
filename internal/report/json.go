package report

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// JSON writes one JSON object a line: the time in UTC, the event's name, and the event's own fields.
//
//	{"time":"2026-07-27T14:12:00.5Z","event":"step-started","step":"plan","system":"x86_64-linux"}
type JSON struct {
	mu  sync.Mutex
	out *Output
	err error
	// broken means that a write has failed. The stream ends there, without a gap.
	broken bool
}

func NewJSON(w io.Writer) *JSON { return &JSON{out: outputOf(w)} }

func (j *JSON) Report(at time.Time, e run.Event) {
	line, err := encode(at, e)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && !j.broken {
		if err = j.out.show(line); err != nil {
			j.broken = true
		}
	}
	if err != nil && j.err == nil {
		j.err = fmt.Errorf("write event %s: %w", eventName(e), err)
	}
}

// Close returns the first error, if any. The writer stays open.
func (j *JSON) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

func encode(at time.Time, e run.Event) (shown, error) {
	fields, err := document(e, "")
	if err != nil {
		return "", err
	}
	line := (style{}).clean(fmt.Sprintf(`{"time":%q,"event":%q`, at.UTC().Format(time.RFC3339Nano), eventName(e)))
	rest := fields[1:] // without the brace that opens it
	if rest[0] != '}' {
		line += ","
	}
	return line + rest, nil
}

// eventName returns the name of e's type in kebab case.
func eventName(e run.Event) string {
	var name strings.Builder
	for i, r := range reflect.Indirect(reflect.ValueOf(e)).Type().Name() {
		if i > 0 && unicode.IsUpper(r) {
			name.WriteByte('-')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}
