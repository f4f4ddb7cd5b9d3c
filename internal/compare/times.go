package compare

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Window is the time of a run: a time that one of its builds wrote is in there. The zero value is unknown, and has no
// times.
type Window struct{ From, To time.Time }

// WindowOf is the time of a run as its manifest has it; unknown if the manifest does not have it.
func WindowOf(started, finished string) Window {
	from, errFrom := time.Parse(time.RFC3339, started)
	to, errTo := time.Parse(time.RFC3339, finished)
	if errFrom != nil || errTo != nil {
		return Window{}
	}
	return Window{from, to.Add(time.Second)} // a manifest has no fractions
}

const (
	// zoneSlack is how far a written time can be from UTC, if it has no zone. A date can begin a day earlier.
	zoneSlack = 14 * time.Hour
	dateSlack = zoneSlack + 24*time.Hour
	// earlier is how long before the run the other build can have been made.
	earlier = 10 * 365 * 24 * time.Hour
)

// has reports whether two times can be of two builds: the later one within the run, the other not much earlier.
// Slack is the error of both.
func (w Window) has(a, b time.Time, slack time.Duration) bool {
	if a.After(b) {
		a, b = b, a
	}
	return w.mayHave(a, slack) && w.mayHave(b, slack) && !b.Before(w.From.Add(-slack))
}

func (w Window) mayHave(t time.Time, slack time.Duration) bool {
	return !w.To.IsZero() && !t.Before(w.From.Add(-earlier)) && !t.After(w.To.Add(min(slack, zoneSlack)))
}

// timeForm is a way to write a time.
type timeForm struct {
	pattern string
	layouts []string // of package time; spaces in the text are single
	slack   time.Duration
}

const (
	clockPattern = `\d{1,2}:\d{2}:\d{2}`
	monthPattern = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`
	dayPattern   = `(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)`
)

// timeForms are in the order in which they are tried: the longer ones first.
var timeForms = []timeForm{
	{`\b\d{4}-\d{2}-\d{2}T` + clockPattern + `(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})\b`, []string{time.RFC3339}, 0},
	{`\b\d{4}-\d{2}-\d{2}[T ]` + clockPattern + `(?:\.\d+)?`, []string{"2006-01-02T15:04:05", time.DateTime}, zoneSlack},
	{`\b` + dayPattern + ` ` + monthPattern + ` +\d{1,2} ` + clockPattern + `(?: [A-Z]{3,4})? \d{4}\b`, []string{time.UnixDate, time.ANSIC}, zoneSlack},
	{`\b` + dayPattern + `, \d{2} ` + monthPattern + ` \d{4} ` + clockPattern + ` [+-]\d{4}\b`, []string{time.RFC1123Z}, 0},
	{`\b` + monthPattern + ` +\d{1,2} \d{4} ` + clockPattern, []string{"Jan 2 2006 15:04:05"}, zoneSlack},
	{`\b` + monthPattern + ` +\d{1,2} \d{4}\b`, []string{"Jan 2 2006"}, dateSlack},
	{`\b\d{4}-\d{2}-\d{2}\b`, []string{time.DateOnly}, dateSlack},
	{`\b20\d{12}\b`, []string{"20060102150405"}, zoneSlack},
	{`\b[12]\d{9}(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?\b`, nil, 0},
}

func timeMasks(w Window) []mask {
	if w.To.IsZero() {
		return nil
	}
	masks := make([]mask, 0, len(timeForms))
	for i, f := range timeForms {
		masks = append(masks, mask{
			Timestamp, timePatterns[i],
			func(text string) bool { t, ok := f.parse(text); return ok && w.mayHave(t, f.slack) },
			func(a, b string) bool {
				x, okA := f.parse(a)
				y, okB := f.parse(b)
				return okA && okB && w.has(x, y, f.slack)
			},
		})
	}
	return masks
}

var timePatterns = func() []*regexp.Regexp {
	all := make([]*regexp.Regexp, len(timeForms))
	for i, f := range timeForms {
		all[i] = regexp.MustCompile(f.pattern)
	}
	return all
}()

func (f timeForm) parse(text string) (time.Time, bool) {
	if f.layouts == nil {
		return parseSeconds(text)
	}
	text = strings.Join(strings.Fields(text), " ")
	for _, layout := range f.layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseSeconds reads a number of seconds since 1970 with 10 digits, or of milli-, micro- or nanoseconds.
func parseSeconds(text string) (time.Time, bool) {
	digits, _, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	switch len(digits) {
	case 10:
		return time.Unix(n, 0), true
	case 13:
		return time.UnixMilli(n), true
	case 16:
		return time.UnixMicro(n), true
	}
	return time.Unix(0, n), true
}
