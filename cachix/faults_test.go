package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// transient has the failures of a request after which another attempt may succeed.
var transient = map[string]cachixtest.Fault{
	"500":                  {Status: 500},
	"502 HTML":             {Status: 502, ContentType: "text/html", Body: "<html>bad gateway</html>"},
	"502 of Cloudflare":    {Status: 502, ContentType: "application/problem+json", Body: `{"retry_after": 60}`},
	"503":                  {Status: 503, RetryAfter: "0"},
	"504":                  {Status: 504},
	"408":                  {Status: 408},
	"429":                  {Status: 429, RetryAfter: "1"},
	"429 until a date":     {Status: 429, RetryAfter: time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)},
	"reset":                {Reset: true},
	"reset in the middle":  {Reset: true, StallAfter: 50},
	"stall":                {Stall: -1},
	"stall in the middle":  {Stall: -1, StallAfter: 50},
	"truncated answer":     {Truncate: true},
	"lost answer":          {LoseAnswer: true},
	"a refusal with noise": {Status: 500, Body: strings.Repeat("\x1b[31m\x00", 1<<16)},
}

// orphans returns whether a fault begins an upload without the knowledge of the client, which cannot abort it.
func orphans(endpoint string, f cachixtest.Fault) bool {
	return endpoint == "create" && (f.LoseAnswer || f.Truncate)
}

// A push succeeds if each request fails twice, in any way.
func TestPushThroughFaults(t *testing.T) {
	for _, endpoint := range []string{"info", "missing", "create", "sign", "part", "complete"} {
		for name, fault := range transient {
			t.Run(endpoint+"/"+name, func(t *testing.T) {
				t.Parallel()
				policy := testPolicy
				if fault.Stall != 0 {
					// Long enough that the server answers all other requests on a loaded machine: an upload whose answer comes too
					// late stays open.
					policy.stallTimeout, policy.completeTimeout = 3*time.Second, 3*time.Second
				}
				s, c := newServer(t, cachixtest.Options{}, Options{policy: policy})
				fault.Endpoint, fault.Times = endpoint, 2
				s.Misbehave(fault)
				if _, err := c.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				objects := chain(t, 8)
				done := mustPush(t, objects, c, PushOptions{})
				if len(done.Added) != 8 {
					t.Errorf("added %d", len(done.Added))
				}
				objects.sees(t, s, objects.paths()...)
				if orphans(endpoint, fault) {
					return
				}
				checkAfterPush(t, s, c)
			})
		}
	}
}

// An endpoint that always fails makes the server unavailable. No upload is left open.
func TestPushIntoAFailingServer(t *testing.T) {
	for _, endpoint := range []string{"missing", "create", "sign", "part", "complete"} {
		for _, name := range []string{"500", "503", "reset", "lost answer"} {
			fault := transient[name]
			if endpoint == "complete" && fault.LoseAnswer {
				continue // a second attempt finds the object there
			}
			t.Run(endpoint+"/"+name, func(t *testing.T) {
				t.Parallel()
				s, c := newServer(t, cachixtest.Options{}, Options{})
				base := chain(t, 3)
				mustPush(t, base, c, PushOptions{})
				fault.Endpoint = endpoint
				s.Misbehave(fault)
				objects := chain(t, 8) // of which three are there
				done, err := objects.push(t.Context(), t, c, PushOptions{})
				if !isUnavailable(err) {
					t.Errorf("error %v does not blame the server", err)
				}
				if len(done.Added) != 0 {
					t.Errorf("added %v", done.Added)
				}
				objects.sees(t, s, base.paths()...)
				s.Behave()
				if !orphans(endpoint, fault) {
					checkAfterPush(t, s, c)
				}
				mustPush(t, objects, c, PushOptions{})
				objects.sees(t, s, objects.paths()...)
			})
		}
	}
}

// A push succeeds if one request in five fails, in several ways.
func TestPushThroughManyFaults(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s, c := newServer(t, cachixtest.Options{Seed: seed}, Options{Attempts: 12})
			s.Misbehave(
				cachixtest.Fault{Probability: 0.07, Status: 503},
				cachixtest.Fault{Probability: 0.07, Reset: true, StallAfter: 100},
				cachixtest.Fault{Probability: 0.07, Endpoint: "part", Status: 500},
				cachixtest.Fault{Probability: 0.1, Endpoint: "complete", LoseAnswer: true},
				cachixtest.Fault{Probability: 0.1, Endpoint: "sign", Expire: true},
			)
			objects := chain(t, 60)
			mustPush(t, objects, c, PushOptions{})
			objects.sees(t, s, objects.paths()...)
			checkAfterPush(t, s, c)
		})
	}
}

// A refusal ends the push at once, and the request is not repeated.
func TestPushRefused(t *testing.T) {
	for _, endpoint := range []string{"missing", "create", "sign", "complete"} {
		for _, status := range []int{400, 401, 403, 422} {
			t.Run(fmt.Sprint(endpoint, status), func(t *testing.T) {
				t.Parallel()
				s, c := newServer(t, cachixtest.Options{}, Options{})
				s.Misbehave(cachixtest.Fault{Endpoint: endpoint, Status: status, Body: `{"error": "no, said with ` + cachixtest.TestToken + `"}`})
				objects := new(stock)
				objects.add(t, "x", []byte("x"))
				_, err := objects.push(t.Context(), t, c, PushOptions{})
				var refused *StatusError
				if !errors.As(err, &refused) || refused.Status != status || isUnavailable(err) {
					t.Errorf("error %v", err)
				}
				if !strings.Contains(err.Error(), "no, said with "+Hidden) || strings.Contains(err.Error(), cachixtest.TestToken) {
					t.Errorf("error %v: want the server's words, without the token", err)
				}
				if n := s.Count(endpoint); n != 1 {
					t.Errorf("%d requests, want one", n)
				}
				objects.sees(t, s)
				checkAfterPush(t, s, c)
			})
		}
	}
}

// A token that is refused during a push ends the whole push, not only one object.
func TestPushRefusedDuringUploads(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{Jobs: 1})
	s.Misbehave(cachixtest.Fault{Endpoint: "create", After: 5, Status: 401, Body: `{"error": "Cachix Auth token \"ci\" has expired."}`})
	objects := chain(t, 200)
	_, err := objects.push(t.Context(), t, c, PushOptions{})
	if err == nil || strings.Count(err.Error(), "401") != 1 {
		t.Errorf("error %v", err)
	}
	if n := s.Count("create"); n > 5+pushWorkers {
		t.Errorf("%d uploads were begun", n)
	}
	checkAfterPush(t, s, c)
}

// If a server is down, the push ends before it has tried all objects.
func TestPushIntoNothing(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := chain(t, 500)
	plan, err := c.Plan(t.Context(), objects.infos, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	done, err := c.Push(t.Context(), plan, objects, PushOptions{})
	if !isUnavailable(err) || len(done.Left) != 500 {
		t.Errorf("error %v, left %d", err, len(done.Left))
	}
	if n := strings.Count(err.Error(), "\n"); n > 12 {
		t.Errorf("the error has %d lines", n)
	}
}

// The answer to complete is lost. The next attempt is refused, because the upload has ended. The object is visible.
func TestCompleteIsRefusedAfterALostAnswer(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	s.Misbehave(
		cachixtest.Fault{Endpoint: "complete", Times: 1, LoseAnswer: true},
		cachixtest.Fault{Endpoint: "complete", Status: 404, Body: `{"error": "NoSuchUpload"}`},
	)
	objects := new(stock)
	path := objects.add(t, "x", []byte("x"))
	done := mustPush(t, objects, c, PushOptions{})
	if len(done.Added) != 1 || s.Count("head") != 1 {
		t.Errorf("added %v, asked %d times", done.Added, s.Count("head"))
	}
	objects.sees(t, s, path)
	checkAfterPush(t, s, c)
}

// An upload that the server does not know any more is begun again, once.
func TestUnknownUploadIsBegunAgain(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	path := objects.add(t, "x", []byte("x"))
	s.Misbehave(cachixtest.Fault{Endpoint: "sign", Times: 1, Status: 404})
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, path)
	if s.Count("create") != 2 {
		t.Errorf("%d uploads were begun", s.Count("create"))
	}
	checkAfterPush(t, s, c)
}

// A URL that expires before its part has arrived is replaced. No URL is used twice.
func TestPushWithShortLivedURLs(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	s.Misbehave(cachixtest.Fault{Endpoint: "sign", Times: 3, Expire: true})
	objects := chain(t, 3)
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, objects.paths()...)
	if sign, part := s.Count("sign"), s.Count("part"); sign != 6 || part != 6 {
		t.Errorf("%d URLs for %d parts, want 6 for 6", sign, part)
	}
	checkAfterPush(t, s, c)
}

// A part is sent again if nothing moves over its connection, but not if the connection is slow.
func TestPushThroughASlowLink(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{Bandwidth: 4 << 20}, Options{})
	objects := new(stock)
	path := objects.add(t, "slow", random(1, 6<<20)) // three times as long as the watch has patience
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, path)
	if n := s.Count("part"); n != 1 {
		t.Errorf("the part was sent %d times", n)
	}
	checkAfterPush(t, s, c)
}

// All requests carry the credential, apart from those of parts.
func TestAuthorizationIsOnlyForTheAPI(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	mustPush(t, chain(t, 3), c, PushOptions{})
	for _, r := range s.Requests() {
		if r.Authorized != (r.Endpoint != "part") {
			t.Errorf("%v: authorized %t", r, r.Authorized)
		}
	}
}

// While a server asks its clients to wait, no request is sent. Waiting requests can be cancelled.
func TestRetryAfterStopsAllRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPatientClient(t)
		var requests atomic.Int32
		c.api.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			requests.Add(1)
			header := http.Header{"Retry-After": {"60"}}
			return &http.Response{StatusCode: http.StatusTooManyRequests, Header: header, Body: http.NoBody, Request: r}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		objects, ended := chain(t, 3), make(chan error, 2)
		go func() {
			_, err := objects.push(ctx, t, c, PushOptions{})
			ended <- err
		}()
		synctest.Wait()
		go func() {
			_, err := c.Info(ctx)
			ended <- err
		}()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if n := requests.Load(); n != 1 {
			t.Errorf("%d requests, want one", n)
		}
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// Each object needs one create, one sign, one part and one complete, independent of the number of objects.
func TestRequestsOfAPush(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	for i := range 300 {
		objects.add(t, fmt.Sprintf("small-%d", i), []byte{byte(i)})
	}
	mustPush(t, objects, c, PushOptions{})
	counts := map[string]int{}
	for _, r := range s.Requests() {
		counts[r.Endpoint]++
	}
	for _, endpoint := range []string{"create", "sign", "part", "complete"} {
		if counts[endpoint] != 300 {
			t.Errorf("%s: %d requests", endpoint, counts[endpoint])
		}
		delete(counts, endpoint)
	}
	if counts["missing"] != 1 || len(counts) != 1 {
		t.Errorf("and %v", counts)
	}
	checkAfterPush(t, s, c)
}
