package cachix

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

func newPatientClient(t *testing.T) *Client {
	t.Helper()
	c, err := New("c", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// All attempts together take at most a minute and a half, unless the server asks to wait longer.
func TestRetryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPatientClient(t)
		longest := time.Duration(0)
		for range 50 {
			start, tries := time.Now(), uint(0)
			err := c.retry(t.Context(), "ask", func(context.Context) error {
				tries++
				return &StatusError{Status: 502}
			})
			if !isUnavailable(err) || tries != c.policy.attempts {
				t.Fatalf("%d attempts, error %v", tries, err)
			}
			longest = max(longest, time.Since(start))
		}
		if longest > 100*time.Second || longest < 20*time.Second {
			t.Errorf("the longest took %s", longest)
		}
	})
}

// A client with few attempts soon gets an error with the reason.
func TestFewAttempts(t *testing.T) {
	s := cachixtest.New(cachixtest.Options{})
	url := s.APIURL()
	s.Close()
	c, err := New("scopecreep-zip", Options{URL: url, Attempts: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PublicKeys(t.Context())
	if !isUnavailable(err) || !strings.Contains(err.Error(), "no success in 3 attempts: ") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

// Retry-After is obeyed, within limits.
func TestRetryWaitsAsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		asks, want time.Duration
	}{
		"a while":  {10 * time.Second, 10 * time.Second},
		"too long": {time.Hour, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPatientClient(t)
				start, tries := time.Now(), 0
				err := c.retry(t.Context(), "ask", func(context.Context) error {
					if tries++; tries == 1 {
						return &StatusError{Status: 429, retryAfter: test.asks}
					}
					return nil
				})
				if took := time.Since(start); err != nil || took != test.want {
					t.Errorf("took %s, error %v, want %s", took, err, test.want)
				}
			})
		})
	}
}

// A refused request is not repeated. When the context is done, no request is repeated, and the error is its cause.
func TestRetryStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPatientClient(t)
		tries := 0
		err := c.retry(t.Context(), "ask", func(context.Context) error {
			tries++
			return &StatusError{Status: 400}
		})
		if tries != 1 || isUnavailable(err) || !hasStatus(err, 400) {
			t.Errorf("%d attempts, error %v", tries, err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		start := time.Now()
		err = c.retry(ctx, "ask", func(context.Context) error { return &StatusError{Status: 503, retryAfter: time.Minute} })
		if took := time.Since(start); !errors.Is(err, why) || took != 3*time.Second {
			t.Errorf("took %s, error %v", took, err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]time.Duration{
			"": 0, "0": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "999999999999": 1 << 20 * time.Second, "9999999": 1 << 20 * time.Second,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat):  90 * time.Second,
			time.Now().Add(-90 * time.Second).UTC().Format(http.TimeFormat): 0,
		} {
			if got := retryAfter(http.Header{"Retry-After": {text}}, nil); got != want {
				t.Errorf("Retry-After: %s is %s, want %s", text, got, want)
			}
		}
		for body, want := range map[string]time.Duration{
			`{"retry_after": 60}`: time.Minute, `{"retry_after": 0.5}`: time.Second / 2, `{"retry_after": -1}`: 0,
			`{"retry_after": "60"}`: 0, `{"retry_after": 1e300}`: 1 << 20 * time.Second, `<html>`: 0,
		} {
			if got := retryAfter(http.Header{}, []byte(body)); got != want {
				t.Errorf("%s is %s, want %s", body, got, want)
			}
		}
	})
}

// The stall timer ends a request only if nothing moves.
func TestStallTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := withStallTimeout(t.Context(), time.Second)
		for range 10 {
			time.Sleep(900 * time.Millisecond)
			w.tick()
		}
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it ended while bytes moved")
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if _, stalled := errors.AsType[timeoutError](context.Cause(ctx)); !stalled {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		w.stop()
	})
}

// A grace period ends some time after its context, with the context's cause.
func TestGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		longer, stop := withGracePeriod(ctx, time.Second)
		defer stop()
		cancel(why)
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if longer.Err() != nil {
			t.Error("it ended early")
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if !errors.Is(context.Cause(longer), why) {
			t.Errorf("cause %v", context.Cause(longer))
		}
	})
}

// A server may send no answer, or send its answer or its headers one byte at a time. The limits of the client end an attempt,
// and the context ends the request.
func TestSlowAnswers(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
	for name, test := range map[string]struct {
		sent    string // at once
		forever string // a byte a second
		want    string
		limit   time.Duration // of one attempt
	}{
		"silent":          {"", "", "nothing moved for 30s", 31 * time.Second},
		"endless headers": {"HTTP/1.1 200 OK\r\nX-Long: ", "x", "nothing moved for 30s", 31 * time.Second},
		"a slow answer":   {whole, " ", "the answer did not end within 1m0s", 61 * time.Second},
	} {
		for _, way := range []string{"one attempt", "a limit of the context"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, err := New("c", Options{URL: "http://cache.example.org", Attempts: 1})
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					c.api.Transport.(*http.Transport).Proxy = nil
					c.api.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go answerSlowly(theirs, test.sent, test.forever)
						return ours, nil
					}
					ctx, limit, want := t.Context(), test.limit, test.want
					if way != "one attempt" {
						limit, want = 10*time.Second, "the user's limit"
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeoutCause(ctx, limit, errors.New(want))
						defer cancel()
					}
					started := time.Now()
					_, err = c.Info(ctx)
					if took := time.Since(started); err == nil || !strings.Contains(err.Error(), want) || took > limit {
						t.Errorf("after %s: %v, want %q within %s", took, err, want, limit)
					}
				})
			})
		}
	}
}

// answerSlowly reads a request, and sends one text at once and another with one byte per second, until the client closes the
// connection.
func answerSlowly(conn net.Conn, atOnce, slowly string) {
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // an answer before the request is none
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn) // the request
	}()
	write := func(text string) {
		if text != "" { // an empty write would be an empty read of the client's
			_, _ = io.WriteString(conn, text) // when the client has closed its end, gone is closed
		}
	}
	write(atOnce)
	for {
		select {
		case <-gone:
			return
		case <-time.After(time.Second):
			write(slowly)
		}
	}
}
