package cachixtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outcome is the result of a request for a narinfo of 300 bytes.
func outcome(c client, hash string) string {
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.s.PublicURL()+hash+".narinfo", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	a, err := c.send(r)
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "truncated"
	case err != nil:
		return err.Error()
	case a.header.Get("Retry-After") != "":
		return http.StatusText(a.status) + ", after " + a.header.Get("Retry-After") + ": " + a.body
	default:
		return http.StatusText(a.status)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		faults []Fault
		want   []string
	}{
		"none":            {nil, []string{"OK"}},
		"too many":        {[]Fault{{Status: 429, RetryAfter: "1", Body: "slow down", Times: 1}}, []string{"Too Many Requests, after 1: slow down", "OK"}},
		"a status":        {[]Fault{{Status: 503, RetryAfter: "7", Body: "busy"}}, []string{"Service Unavailable, after 7: busy", "Service Unavailable, after 7: busy"}},
		"one time":        {[]Fault{{Status: 500, Times: 1}}, []string{"Internal Server Error", "OK", "OK"}},
		"after some":      {[]Fault{{Status: 500, Times: 1, After: 2}}, []string{"OK", "OK", "Internal Server Error", "OK"}},
		"one by one":      {[]Fault{{Status: 500, Times: 1}, {Reset: true, Times: 1}}, []string{"Internal Server Error", "reset", "OK"}},
		"elsewhere":       {[]Fault{{Endpoint: "part", Reset: true}}, []string{"OK"}},
		"here":            {[]Fault{{Endpoint: "narinfo", Reset: true}}, []string{"reset", "reset"}},
		"reset":           {[]Fault{{Reset: true, Times: 1}}, []string{"reset", "OK"}},
		"stall":           {[]Fault{{Stall: time.Millisecond, Times: 1}}, []string{"reset", "OK"}},
		"lost":            {[]Fault{{LoseAnswer: true, Times: 1}}, []string{"reset", "OK"}},
		"truncated":       {[]Fault{{Truncate: true, Times: 1}}, []string{"truncated", "OK"}},
		"truncated fault": {[]Fault{{Status: 500, Body: "a longer one", Truncate: true}}, []string{"truncated"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := start(t, Options{}), newObjectNamed("a")
			c.push(o)
			c.s.Reset()
			c.s.Misbehave(test.faults...)
			for i, want := range test.want {
				if got := outcome(c, o.hash()); got != want {
					t.Errorf("request %d: %s, want %s", i, got, want)
				}
				if r := c.s.Requests()[i]; r.Faulty != (want != "OK") || (r.Status == 0) != (want == "reset") {
					t.Errorf("request %d is recorded as %+v", i, r)
				}
			}
			c.s.Behave()
			if got := outcome(c, o.hash()); got != "OK" {
				t.Errorf("without rules: %s", got)
			}
			c.noProblems()
		})
	}
}

// After a lost answer to complete, the path is visible, and the request can be repeated.
func TestLosesAnswerToComplete(t *testing.T) {
	c, o := start(t, Options{}), newObjectNamed("a")
	packed := zst(t, o.nar)
	u, b := c.upload(o, "zst", packed, len(packed))
	c.s.Misbehave(Fault{Endpoint: "complete", LoseAnswer: true, Times: 1})
	if _, err := c.send(c.request("POST", u.path("/complete"), b.String())); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error is %v, want a reset", err)
	}
	if len(c.s.Paths()) != 1 {
		t.Error("the path is not there")
	}
	for _, r := range c.s.Requests() {
		if r.Endpoint == "complete" && (r.Status != 0 || r.Bytes != int64(len(b.String())) || r.Hash != o.hash()) {
			t.Errorf("it is recorded as %+v", r)
		}
	}
	c.api(200, "POST", u.path("/complete"), b.String())
	c.noProblems()
}

func TestExpiredURL(t *testing.T) {
	c := start(t, Options{})
	u := c.create("zst")
	c.s.Misbehave(Fault{Endpoint: "sign", Expire: true, Times: 1})
	old := c.part(u, 1, []byte("x"))
	expired := func() {
		t.Helper()
		if a := c.mustSend(old.Clone(t.Context())); a.status != 403 || !strings.Contains(a.body, "Request has expired") {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	expired()
	c.put(u, 1, []byte("x"))
	c.noProblems()

	old.Body = io.NopCloser(strings.NewReader("x"))
	expired()
	if problems := c.s.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "Request has expired") {
		t.Errorf("the same URL once more: problems are %q", problems)
	}
}

// An answer without a body can be truncated. An answer to HEAD is not.
func TestTruncatesAnswersWithoutBody(t *testing.T) {
	c, o := start(t, Options{}), newObjectNamed("a")
	c.push(o)
	u := c.create("zst")
	c.s.Misbehave(Fault{Endpoint: "part", Truncate: true, Times: 1}, Fault{Endpoint: "narinfo", Truncate: true, Times: 1})
	if _, err := c.send(c.part(u, 1, []byte("x"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("answer to a part: %v, want an end too early", err)
	}
	text, _ := c.s.NARInfo(o.hash())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, c.s.PublicURL()+o.hash()+".narinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.mustSend(r); a.status != 200 || a.header.Get("Content-Length") != decimal(int64(len(text))) {
		t.Errorf("answer to HEAD: %d, length %s, want %d", a.status, a.header.Get("Content-Length"), len(text))
	}
	c.noProblems()
}

// A stalled part ends when the client closes the connection, or when the server closes.
func TestStalls(t *testing.T) {
	s := New(Options{})
	c := client{t, s, TestToken}
	u := c.create("zst")
	s.Misbehave(Fault{Endpoint: "part", Stall: -1, StallAfter: 1})
	begun := c.begun()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	data := bytes.Repeat([]byte("x"), 32<<20) // more than sockets hold
	for _, r := range []*http.Request{c.part(u, 1, data).WithContext(ctx), c.part(u, 2, data)} {
		go func() {
			_, err := c.send(r)
			done <- err
		}()
	}
	<-begun
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that closed its connection has %v", err)
	}
	s.Close()
	if err := <-done; err == nil {
		t.Error("the other client got an answer")
	}
	if n := len(s.Problems()); n > 0 {
		t.Errorf("%d problems", n)
	}
}

// With the same seed, the same requests fail.
func TestProbability(t *testing.T) {
	run := func(seed uint64) (pattern string) {
		rules := newRuleBook(seed)
		rules.rules = []*rule{{Fault: Fault{Probability: 0.2}}}
		for range 1000 {
			if _, ok := rules.match("part", "/"); ok {
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern
	}
	first, again := run(1), run(1)
	if first != again || first == run(2) {
		t.Error("the failures do not depend only on the seed")
	}
	if n := strings.Count(first, "x"); n < 150 || n > 250 {
		t.Errorf("%d of 1000 requests were spoilt, want about 200", n)
	}
}
