package report_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var update = flag.Bool("update", false, "write what is got to the golden files")

// golden compares got with testdata/<name>.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(g), len(w)) {
		switch {
		case i >= len(g):
			t.Fatalf("%s:%d: got ends here\n-want %q", path, i+1, w[i])
		case i >= len(w):
			t.Fatalf("%s:%d: want ends here\n+got  %q", path, i+1, g[i])
		case !bytes.Equal(g[i], w[i]):
			t.Fatalf("%s:%d:\n-want %q\n+got  %q", path, i+1, w[i], g[i])
		}
	}
}

type reporter interface {
	run.Reporter
	Close() error
}

// tape is a recording that is played at its original speed. It needs the clock of a synctest bubble.
type tape struct {
	start time.Time
	rest  []moment
}

func newTape(moments []moment) *tape {
	// No event is at the time of a reporter's tick: the order of two at the same time is not defined.
	time.Sleep(37 * time.Millisecond)
	return &tape{time.Now(), moments}
}

// play reports the events up to a time of the run, each at its time.
func (p *tape) play(r run.Reporter, until time.Duration) {
	for len(p.rest) > 0 && p.rest[0].at <= until {
		time.Sleep(p.rest[0].at - time.Since(p.start))
		r.Report(time.Now(), p.rest[0].event)
		p.rest = p.rest[1:]
	}
	time.Sleep(until - time.Since(p.start))
}

// reportAll reports the moments at once.
func reportAll(t *testing.T, r reporter, moments []moment) {
	t.Helper()
	start := time.Date(2026, 7, 27, 14, 12, 0, 0, time.UTC)
	for _, m := range moments {
		r.Report(start.Add(m.at), m.event)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// broken is a writer that accepts some writes, and then fails.
type broken struct {
	takes int
	shared
}

func (b *broken) Write(p []byte) (int, error) {
	if b.takes--; b.takes < 0 {
		return 0, os.ErrClosed
	}
	return b.shared.Write(p)
}

// shared is a buffer that a test can read while a reporter writes to it.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
