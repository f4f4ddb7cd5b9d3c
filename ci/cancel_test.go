package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// The runner ends a step with SIGINT to the step's process, SIGTERM after the first grace period, and SIGKILL after the
// second. https://docs.github.com/actions/reference/workflows-and-actions/workflow-cancellation
const (
	firstGrace  = 7500 * time.Millisecond
	secondGrace = 2500 * time.Millisecond
)

// childProcess is the program in a separate process, as a step of a job.
type childProcess struct {
	*githubJob
	cmd    *exec.Cmd
	stderr watched
	exited chan error
}

// watched keeps the output of a process.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	word string // searched for
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.word != "" && strings.Contains(w.text.String(), w.word) {
		w.word = ""
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// startProcess starts the program in a job. Seen is closed when the program prints the word.
func startProcess(t *testing.T, file string, j *githubJob, word string, args ...string) *childProcess {
	t.Helper()
	p := &childProcess{githubJob: j, cmd: exec.Command(file, args...), exited: make(chan error, 1)}
	p.stderr.word, p.stderr.seen = word, make(chan struct{})
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = j.dir, j.environ, &p.stderr
	if j.event.secret {
		p.cmd.Env = append(p.cmd.Env, defaultSecret+"="+cachixtest.TestToken)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	return p
}

// cancel ends the process as the runner does, and returns its exit code; -1 if a signal ended it.
func (p *childProcess) cancel(t *testing.T, first syscall.Signal) int {
	t.Helper()
	began := time.Now()
	for _, step := range []struct {
		signal syscall.Signal
		grace  time.Duration
	}{{first, firstGrace}, {syscall.SIGTERM, secondGrace}, {syscall.SIGKILL, time.Minute}} {
		if err := p.cmd.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.exited:
			t.Logf("it ended within %v", time.Since(began).Round(time.Millisecond))
			return p.cmd.ProcessState.ExitCode()
		case <-time.After(step.grace):
			t.Logf("it goes on after %v", step.signal)
		}
	}
	t.Fatal("it cannot be killed")
	return 0
}

// wait waits for a channel, or for the early end of the process.
func (p *childProcess) wait(t *testing.T, until <-chan struct{}) {
	t.Helper()
	select {
	case <-until:
	case <-p.exited:
		t.Fatalf("it has ended before:\n%s", &p.stderr)
	}
}

// A job is cancelled during an upload. It leaves nothing incomplete, and its manifest has the finished parts.
func TestJobCancelledDuringAnUpload(t *testing.T) {
	t.Parallel()
	store := needsNix(t)
	file := buildCI(t)
	for name, signal := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			uploading := make(chan struct{})
			once := sync.OnceFunc(func() { close(uploading) })
			server := cachixtest.New(cachixtest.Options{
				Latency: 300 * time.Millisecond, // a push of ten paths lasts for some seconds
				Log: func(r cachixtest.Request) {
					if r.Endpoint == "part" {
						once()
					}
				},
			})
			defer server.Close()
			p := startProcess(t, file, newJobElsewhere(t, pushed("refs/heads/main")).in(store), "",
				"release", "example", "--engine", "host", "--system", "x86_64-linux", "--rebuild=off", "--contract=off", "--cachix-url", server.APIURL())
			p.wait(t, uploading)
			if code := p.cancel(t, signal); code != exitInterrupted {
				t.Fatalf("exit code %d:\n%s", code, &p.stderr)
			}
			if n := server.OpenUploads(); n > 0 {
				t.Errorf("%d uploads are left open", n)
			}
			for _, problem := range server.Problems() {
				t.Errorf("a rule of the protocol was broken: %s", problem)
			}
			if len(server.Pins()) > 0 {
				t.Errorf("pinned %v", server.Pins())
			}
			m, err := run.ReadManifest(filepath.Join(p.dir, "out/manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			done := m.Cells[0].Publish
			if m.Outcome != run.OutcomeInterrupted || m.Cells[0].Verdict != run.Built || done == nil ||
				done.Verdict != run.Unpublished || done.Left == 0 || done.Added != len(server.Paths()) || done.Added+done.Left != 10 {
				t.Errorf("the manifest says %s, %+v; the server has %d paths", m.Outcome, done, len(server.Paths()))
			}
			journals, err := publish.OpenJournals(regular.NewDir(filepath.Join(p.dir, "out")), nil)
			if err != nil || len(journals) != 1 {
				t.Errorf("%d journals, %v", len(journals), err)
			}
			checkCancelled(t, p)
		})
	}
}

// A job is cancelled during a build.
func TestJobCancelledDuringABuild(t *testing.T) {
	t.Parallel()
	j := newJobElsewhere(t, pushed("refs/heads/main")).in(needsNix(t))
	if err := example.WriteFixture(filepath.Join(j.dir, "silent"), "silent"); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, buildCI(t), j, "probe ", "release", "./silent", "--engine", "host", "--system", "x86_64-linux", "--package", "open-sesame-desktop",
		"--substituter", "none", "--served-by", "none", "--memlock", "0", "--push", "never", "--since", "none")
	p.wait(t, p.stderr.seen)
	if code := p.cancel(t, syscall.SIGINT); code != exitInterrupted {
		t.Fatalf("exit code %d:\n%s", code, &p.stderr)
	}
	m, err := run.ReadManifest(filepath.Join(p.dir, "out/manifest.json"))
	if err != nil || m.Outcome != run.OutcomeInterrupted || m.Cells[0].Verdict != run.Failed {
		t.Fatalf("the manifest says %+v, %v", m, err)
	}
	checkCancelled(t, p)
}

// checkCancelled checks the summaries that GitHub shows: that of the job, and that of the report after it.
func checkCancelled(t *testing.T, p *childProcess) {
	t.Helper()
	const title = "## ⏹️ Cancelled; these are the results so far"
	if summary := readTest(t, p.summary); !strings.HasPrefix(summary, title) {
		t.Errorf("the summary is\n%s", summary)
	}
	if outputs := readTest(t, p.output); !strings.Contains(outputs, "out/manifest.json") {
		t.Errorf("the outputs are\n%s", outputs)
	}
	if text := p.stderr.String() + readTest(t, p.summary); strings.Count(text, cachixtest.TestToken) != 1 {
		t.Errorf("the secret is not masked, or printed again:\n%s", text)
	}
	writeTest(t, p.summary, "")
	report := exec.Command(p.cmd.Path, "report", "out/manifest.json", "--system", "x86_64-linux", "--jobs-result", jobCancelled, "--since", "none", "--pin=false")
	report.Dir, report.Env = p.cmd.Dir, p.cmd.Env
	_ = report.Run() // the exit code says it
	code := report.ProcessState.ExitCode()
	if summary := readTest(t, p.summary); code != exitInterrupted || !strings.HasPrefix(summary, title) {
		t.Errorf("the report exits with %d:\n%s", code, summary)
	}
}
