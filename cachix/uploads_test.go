package cachix

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// uploadList is a log in memory.
type uploadList struct {
	mu          sync.Mutex
	begun, open []string
}

func (l *uploadList) Begun(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun, l.open = append(l.begun, id), append(l.open, id)
}

func (l *uploadList) Ended(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(other string) bool { return other == id })
}

// A push logs the beginning and the end of each upload, also of uploads that fail or are aborted.
func TestUploadsAreLogged(t *testing.T) {
	for name, fault := range map[string]cachixtest.Fault{
		"none":             {Endpoint: "complete", Status: 500, Times: 1},
		"refused":          {Endpoint: "complete", Status: 400, After: 3},
		"gone":             {Endpoint: "complete", Status: 404, Times: 1},
		"lost parts":       {Endpoint: "part", Reset: true, Probability: 0.3},
		"abort is refused": {Endpoint: "abort", Status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			s.Misbehave(fault)
			objects := chain(t, 10)
			plan, err := c.Plan(t.Context(), objects.infos, nil)
			if err != nil {
				t.Fatal(err)
			}
			var log uploadList
			_, _ = c.Push(t.Context(), plan, objects, PushOptions{Uploads: &log})
			if len(log.begun) < 10 || len(log.open) > 0 {
				t.Errorf("%d uploads have begun, and %d are open in the log", len(log.begun), len(log.open))
			}
			if n := s.OpenUploads(); n > 0 {
				t.Errorf("%d uploads are open on the server", n)
			}
		})
	}
}

// Another client aborts the uploads that a log has open. Uploads that have ended, and invalid IDs, are no errors.
func TestAbortUploads(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	var ids []string
	for range 100 {
		u, err := c.create(t.Context(), "zstd")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, u.reference())
		if len(ids) == 1 {
			u.abort(t.Context())
		}
	}
	hostile := []string{"", "x", "../../other/multipart-nar/x y", ".. y", "%2e%2e y", "a%2Fb y", "x %zz", "x "}
	n, err := c.AbortUploads(t.Context(), append(hostile, ids...))
	if n != 99 || err != nil || s.OpenUploads() != 0 {
		t.Errorf("%d aborted, %d open, error %v", n, s.OpenUploads(), err)
	}
	if got := s.Count("abort"); got != 101 {
		t.Errorf("%d requests to abort", got)
	}
	for _, r := range s.Requests() {
		if r.Endpoint != "create" && r.Endpoint != "abort" {
			t.Errorf("request %s", r)
		}
	}
	for name, fault := range map[string]cachixtest.Fault{"down": {Status: 503}, "no right": {Status: 403}} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			u, err := c.create(t.Context(), "zstd")
			if err != nil {
				t.Fatal(err)
			}
			s.Misbehave(fault)
			if n, err := c.AbortUploads(t.Context(), []string{u.reference()}); n != 0 || err == nil {
				t.Errorf("%d aborted, error %v", n, err)
			}
		})
	}
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the run has ended")
	cancel(why)
	if _, err := c.AbortUploads(ended, ids); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if d := c.Destination(); d != s.APIURL()+"/cache/scopecreep-zip" || strings.Contains(d, "\n") {
		t.Errorf("destination %q", d)
	}
}
