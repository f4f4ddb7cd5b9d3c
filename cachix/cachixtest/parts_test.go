package cachixtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRefusesParts(t *testing.T) {
	data := bytes.Repeat([]byte("part"), 1000)
	for name, test := range map[string]struct {
		options  Options
		change   func(*http.Request)
		status   int
		text     string
		rightful bool
	}{
		"Authorization":       {change: with("Authorization", "Bearer "+TestToken), status: 400, text: "Only one auth mechanism"},
		"a cookie":            {change: with("Cookie", "a=b"), status: 400, text: "cookie"},
		"no Content-MD5":      {change: without("Content-MD5"), status: 403, text: "SignatureDoesNotMatch"},
		"another Content-MD5": {change: with("Content-MD5", contentMD5([]byte("x"))), status: 403, text: "SignatureDoesNotMatch"},
		"other bytes":         {change: bodyOf(bytes.Repeat([]byte("trap"), 1000)), status: 400, text: "BadDigest"},
		"in chunks":           {change: func(r *http.Request) { r.ContentLength = -1 }, status: 411, text: "MissingContentLength"},
		"no bytes":            {change: func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }, status: 400, text: "empty"},
		"Expect":              {change: with("Expect", "100-continue"), status: 417},
		"another part": {change: func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "partNumber=1", "partNumber=2", 1)
		}, status: 403, text: "SignatureDoesNotMatch"},
		"another host": {change: func(r *http.Request) { r.Host = "localhost" }, status: 403, text: "SignatureDoesNotMatch"},
		"no query":     {change: func(r *http.Request) { r.URL.RawQuery = "" }, status: 400, text: "InvalidArgument"},
		"an old URL":   {options: Options{URLLife: time.Nanosecond}, status: 403, text: "Request has expired", rightful: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, test.options)
			u := c.create("zst")
			r := c.part(u, 1, data)
			if test.change != nil {
				test.change(r)
			}
			a := c.mustSend(r)
			if a.status != test.status || !strings.Contains(a.body, test.text) || !strings.HasPrefix(a.body, "<Error>") {
				t.Errorf("status %d, want %d with %q: %s", a.status, test.status, test.text, a.body)
			}
			want := 1
			if test.rightful {
				want = 0
			}
			if problems := c.s.Problems(); len(problems) != want {
				t.Errorf("problems %q, want %d", problems, want)
			}
		})
	}
}

func bodyOf(data []byte) func(*http.Request) {
	return func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data)) }
}

func TestPartsEndWithTheirUpload(t *testing.T) {
	c := start(t, Options{})
	u := c.create("zst")
	if n := c.s.OpenUploads(); n != 1 {
		t.Errorf("%d uploads are open", n)
	}
	c.s.hangUpTime = 10 * time.Millisecond
	late := c.part(u, 1, []byte("late"))
	first := c.put(u, 1, []byte("part"))
	if again := c.put(u, 1, []byte("part")); again != first {
		t.Errorf("the ETag of the same bytes was %s, is %s", first, again)
	}
	c.api(200, "POST", u.path("/abort"), "")
	c.api(404, "POST", u.path("/abort"), "")
	c.noProblems() // the first answer may have been lost
	if n := c.s.OpenUploads(); n != 0 {
		t.Errorf("%d uploads are open after abort", n)
	}
	if a := c.mustSend(late); a.status != 404 || !strings.Contains(a.body, "NoSuchUpload") {
		t.Errorf("part of an aborted upload: %d %s", a.status, a.body)
	}
	c.api(404, "POST", u.path("")+"&partNumber=1", `{"contentMD5":"`+contentMD5(nil)+`"}`)
	c.api(404, "POST", u.path("/complete"), body{"parts": []any{}, "narInfoCreate": newObjectNamed("a").info(t, []byte("x"))}.String())
	if problems := c.s.Problems(); len(problems) != 3 {
		t.Errorf("problems are %q", problems)
	}
}

// A completed upload accepts no further requests.
func TestNothingFollowsCompletion(t *testing.T) {
	c := start(t, Options{})
	o := newObjectNamed("a")
	packed := zst(t, o.nar)
	u, b := c.upload(o, "zst", packed, len(packed))
	late := c.part(u, 2, []byte("late"))
	c.api(200, "POST", u.path("/complete"), b.String())
	c.noProblems()
	if a := c.mustSend(late); a.status != 404 || !strings.Contains(a.body, "has been completed") {
		t.Errorf("part of a completed upload: %d %s", a.status, a.body)
	}
	c.api(404, "POST", u.path("")+"&partNumber=2", `{"contentMD5":"`+contentMD5(nil)+`"}`)
	if problems := c.s.Problems(); len(problems) != 2 {
		t.Errorf("problems are %q", problems)
	}
}

// Requests of a cancelled push may arrive after the abort. This is no error of a client that does not wait for the answer.
func TestLateRequestsOfACancelledPush(t *testing.T) {
	c := start(t, Options{Latency: 100 * time.Millisecond})
	u := c.create("zst")
	part := c.part(u, 1, []byte("late"))
	c.api(200, "POST", u.path("/abort"), "")
	begun := c.begun()
	for _, r := range []*http.Request{
		part,
		c.request("POST", u.path("")+"&partNumber=1", `{"contentMD5":"`+contentMD5(nil)+`"}`),
		c.request("POST", u.path("/complete"), body{"parts": []any{}, "narInfoCreate": newObjectNamed("a").info(t, []byte("x"))}.String()),
	} {
		ctx, hangUp := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := c.send(r.WithContext(ctx))
			ended <- err
		}()
		<-begun
		hangUp()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	c.s.Close() // waits for the last answer
	c.noProblems()
}
