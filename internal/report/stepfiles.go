package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// StepFiles writes the files that GitHub reads after a step of a job: its outputs and its summary.
// It writes them at the run's end. An error does not fail the run: it is a warning in the job's log.
type StepFiles struct {
	o   StepOptions
	out *Output

	mu   sync.Mutex
	view view
}

// StepOptions are the files of a step, and the target of its links.
type StepOptions struct {
	// Output and Summary are files, as in GITHUB_OUTPUT and GITHUB_STEP_SUMMARY; empty for none.
	Output, Summary string
	// Run is the web page of the whole run; empty if there is none.
	Run string
}

// NewStepFiles returns a reporter that writes warnings to w, the job's log.
func NewStepFiles(w io.Writer, o StepOptions) *StepFiles { return &StepFiles{o: o, out: outputOf(w)} }

// Report records an event, and writes the files at the run's end.
func (s *StepFiles) Report(_ time.Time, e run.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.apply(e)
	if _, ended := e.(run.RunFinished); !ended {
		return
	}
	var errs []error
	if s.o.Output != "" {
		for _, o := range outputs(&s.view) {
			errs = append(errs, setOutput(s.o.Output, o.name, o.value))
		}
	}
	if s.o.Summary != "" {
		errs = append(errs, addSummary(s.o.Summary, &stepSummary{view: &s.view, run: s.o.Run}))
	}
	if err := errors.Join(errs...); err != nil {
		for line := range strings.Lines(err.Error()) {
			warning := command(func(c *githubactions.Action) { c.Warningf("%s", (style{}).clean(line)) })
			_ = s.out.show(warning + "\n") // there is no other place to report this error
		}
	}
}

// Close does nothing: errors are reported already.
func (s *StepFiles) Close() error { return nil }

type output struct{ name, value string }

// outputs are documented in action.yml. Hits are the outputs that consumers get from the public cache. All others are
// misses, also if the cache was not asked, or there is none.
func outputs(v *view) []output {
	var paths []string
	hits, misses := 0, 0
	for _, c := range v.systems {
		for _, p := range c.packages {
			if !isGood(p.Verdict) {
				continue
			}
			for _, o := range p.Outputs {
				paths = append(paths, string(o.Path))
			}
			if isHit(p.PackageResult) {
				hits += len(p.Outputs)
			} else {
				misses += len(p.Outputs)
			}
		}
	}
	return []output{
		{"manifest", v.finished.Path},
		{"out-paths", strings.Join(paths, "\n")},
		{"hits", strconv.Itoa(hits)},
		{"misses", strconv.Itoa(misses)},
	}
}

// delimiter is the line around each value. A value that contains it could set other outputs.
const delimiter = "_GitHubActionsFileCommandDelimeter_"

// setOutput appends an output to the runner's file. It refuses a value that could set other outputs.
func setOutput(file, name, value string) error {
	if strings.Contains(value, delimiter) || strings.ContainsAny(value, "\r\x00") {
		return fmt.Errorf("set output %s: refused: the value could be taken for other outputs", name)
	}
	return appendTo(file, "set output "+name, fmt.Sprintf("%s<<%s\n%s\n%s\n", name, delimiter, value, delimiter))
}

// appendTo appends text to a file of the runner. It does not create the file: the runner has.
func appendTo(file, does, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %v", does, err)
	}
	return nil
}

// maxSummary is GitHub's limit for one step. GitHub refuses a longer summary as a whole.
// https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
const maxSummary = 1 << 20

func addSummary(file string, s *stepSummary) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("write step summary: %v", err)
	}
	text := s.fit(maxSummary - int(min(info.Size(), maxSummary)) - len("\n"))
	if text == "" {
		return errors.New("write step summary: there is no room left: earlier commands of the step have filled it")
	}
	return appendTo(file, "write step summary", text+"\n")
}
