package cachixtest

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRefusesOptions(t *testing.T) {
	for text, o := range map[string]Options{
		"permission":   {Permission: "write"},
		"compression":  {Preferred: "zstd"},
		"parse key":    {SelfSigned: "bare"},
		"no such file": {Dir: t.TempDir() + "/absent"},
	} {
		if _, err := NewHandler(o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want one with %q", err, text)
		}
	}
}

func TestRemovesItsDirectory(t *testing.T) {
	dir := t.TempDir()
	s := New(Options{Dir: dir})
	c := client{t, s, TestToken}
	c.push(newObjectNamed("a"))
	c.put(c.create("zst"), 1, []byte("left open"))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	s.Close()
	s.Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("after Close: %v, %v", entries, err)
	}
}

// A push needs four calls of the API and one part. All of them are in the log.
func TestRequests(t *testing.T) {
	var mu sync.Mutex
	var logged []Request
	c := start(t, Options{Log: func(r Request) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, r)
	}})
	o := newObjectNamed("a")
	c.push(o)
	c.get("nix-cache-info")
	requests := c.s.Requests()
	var endpoints []string
	for _, r := range requests {
		endpoints = append(endpoints, r.Endpoint)
		if r.Status != 200 || r.Time.IsZero() || r.Faulty || r.Authorized != (r.Endpoint != "part" && r.Endpoint != "cache-info") {
			t.Errorf("%+v", r)
		}
	}
	if got, want := strings.Join(endpoints, " "), "create sign part complete cache-info"; got != want {
		t.Fatalf("requests are %s, want %s", got, want)
	}
	part, complete := requests[2], requests[3]
	if part.Bytes != int64(len(zst(t, o.nar))) || part.Part != 1 || part.NARID == "" || part.NARID != complete.NARID || complete.Hash != o.hash() {
		t.Errorf("%+v\n%+v", part, complete)
	}
	if c.s.Count("sign") != 1 || c.s.Count("abort") != 0 {
		t.Error("miscounted")
	}
	c.s.Close() // waits for the log
	if len(logged) != len(requests) {
		t.Errorf("logged %d of %d requests", len(logged), len(requests))
	}
	c.s.Reset()
	if len(c.s.Requests()) != 0 || len(c.s.Paths()) != 1 {
		t.Error("Reset forgets too little or too much")
	}
}

// A slow link does not change the bytes, nor the faults.
func TestPushesOverSlowLink(t *testing.T) {
	c := start(t, Options{Latency: time.Millisecond, Bandwidth: 10 << 20})
	o := newObjectNamed("a")
	c.push(o)
	c.s.Misbehave(Fault{Reset: true})
	if got := outcome(c, o.hash()); got != "reset" {
		t.Errorf("a reset is %s", got)
	}
	c.noProblems()
}
