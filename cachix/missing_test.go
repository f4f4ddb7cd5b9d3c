package cachix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Each of many paths is queried once, in as few requests as the server allows.
func TestMissingInBatches(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	const n = maxQuery + 1000
	asked := make([]nix.StorePath, 0, n+1)
	for i := range n {
		digest := fmt.Sprintf("%032d", i)
		asked = append(asked, nix.StorePath("/nix/store/"+digest+"-x"))
	}
	asked = append(asked, asked[0]) // the server would count a second one as missing
	missing, err := c.Missing(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(missing, asked[:n]) {
		t.Errorf("%d paths are missing, want %d in order", len(missing), n)
	}
	if s.Count("missing") != 2 {
		t.Errorf("%d questions, want 2", s.Count("missing"))
	}
	checkAfterPush(t, s, c)
}

func TestMissingOfNothing(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	if missing, err := c.Missing(t.Context(), nil); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, error %v", missing, err)
	}
	if len(s.Requests()) != 0 {
		t.Error("the server was asked for nothing")
	}
}

// answering returns a client of a server that gives the same answer to each request.
func answering(t testing.TB, status int, contentType, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if status/100 == 3 {
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	c, err := New("c", Options{URL: s.URL, Credential: hide(secret{token: cachixtest.TestToken}), policy: testPolicy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// An invalid answer is an error. It never means that no path is missing.
func TestHostileAnswers(t *testing.T) {
	path := nix.StorePath("/nix/store/00000000000000000000000000000000-x")
	objects := new(stock)
	objects.add(t, "x", []byte("x"))
	const page = "text/html; charset=utf-8"
	for name, test := range map[string]struct {
		status     int
		kind, body string
		want       string
	}{
		"a page":           {200, page, "<!DOCTYPE html><title>Sign in</title>", "it is HTML, not JSON (is there a proxy in front of"},
		"a refusing page":  {403, page, "<h1>Forbidden</h1>", "status 403 Forbidden"},
		"nothing":          {200, "application/json", "", "read answer"},
		"null":             {200, "application/json", "null", ""},
		"a number":         {200, "application/json", "17", "read answer"},
		"an object":        {200, "application/json", `{"missing": []}`, ""},
		"not asked for":    {200, "application/json", `["11111111111111111111111111111111"]`, ""},
		"an escape":        {200, "application/json", `["\u001b[2J"]`, ""},
		"numbers":          {200, "application/json", `[1]`, "read answer"},
		"deep":             {200, "application/json", strings.Repeat("[", 200_000), "read answer"},
		"huge":             {200, "application/json", `["` + strings.Repeat("0", maxAnswer), "longer than"},
		"cut off":          {200, "application/json", `["0000`, "read answer"},
		"a redirect":       {302, "application/json", "", "the server redirects, which no endpoint does"},
		"another redirect": {308, "application/json", "", "the server redirects, which no endpoint does"},
		"plain text":       {200, "text/plain", "welcome", "read answer"},
		"accepted":         {202, "application/json", "[]", "read answer: status 202 Accepted, want 200"},
		"no content":       {204, "application/json", "", "read answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, test.status, test.kind, test.body)
			missing, err := c.Missing(t.Context(), []nix.StorePath{path})
			if err == nil || !strings.Contains(err.Error(), test.want) || len(missing) > 0 {
				t.Errorf("missing %v, error %v, want %q", missing, err, test.want)
			}
			if _, err := c.Info(t.Context()); err == nil {
				t.Error("it was taken for a description of a cache")
			}
			done, err := c.Push(t.Context(), Plan{Push: objects.infos}, objects, PushOptions{})
			if err == nil || len(done.Added) > 0 || len(done.Left) != 1 {
				t.Errorf("pushed %+v, error %v", done, err)
			}
			if text := fmt.Sprint(err); len(text) > 2000 || strings.Contains(text, "\x1b") {
				t.Errorf("an error of %d bytes: %.200q", len(text), text)
			}
		})
	}
}

// The contents of the answers to complete and pin do not matter, but an HTML page is an error, and so is another status than 200.
func TestAnswersWithoutContents(t *testing.T) {
	for name, test := range map[string]struct {
		status     int
		kind, body string
		want       string // empty where it is an answer
	}{
		"nothing":   {200, "application/json", "", ""},
		"a list":    {200, "application/json", "[]\n", ""},
		"null":      {200, "", "null", ""},
		"a page":    {200, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>", "it is HTML, not JSON (is there a proxy in front of"},
		"text":      {200, "text/plain", "welcome", "read answer"},
		"accepted":  {202, "application/json", "[]", "status 202 Accepted, want 200"},
		"elsewhere": {204, "", "", "status 204 No Content, want 200"},
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, test.status, test.kind, test.body)
			u := &upload{client: c, narID: "x", id: "y"}
			for does, err := range map[string]error{
				"complete upload": u.complete(t.Context(), narInfoCreate{StoreHash: strings.Repeat("0", 32)}),
				"pin x":           c.Pin(t.Context(), Pin{Name: "x"}),
			} {
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: %v, want %q", does, err, test.want)
				}
			}
		})
	}
}

// No answer makes the client panic, or report an object as pushed that it did not push.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"name":"c","uri":"https://c.cachix.org","isPublic":true,"publicSigningKeys":["k"],"permission":"Write","preferredCompressionMethod":"ZSTD"}`)
	f.Add(200, `{"narId":"x","uploadId":"y"}`)
	f.Add(200, `{"uploadUrl":"http://127.0.0.1:1/x"}`)
	f.Add(200, `["00000000000000000000000000000000"]`)
	f.Add(429, `{"retry_after":1e300}`)
	f.Add(502, `{"error":"\u0000","message":3}`)
	f.Add(401, "expired")
	path := nix.StorePath("/nix/store/00000000000000000000000000000000-x")
	f.Fuzz(func(t *testing.T, status int, body string) {
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			recorder := httptest.NewRecorder()
			recorder.WriteHeader(200 + (status%400+400)%400)
			_, _ = recorder.WriteString(body)
			response := recorder.Result()
			response.Request = r
			return response, nil
		})
		policy := testPolicy
		policy.attempts, policy.maxRetryAfter = 1, 1
		c, err := New("c", Options{Credential: hide(secret{token: cachixtest.TestToken}), policy: policy})
		if err != nil {
			t.Fatal(err)
		}
		c.api.Transport, c.storage.Transport = transport, transport
		missing, err := c.Missing(t.Context(), []nix.StorePath{path})
		var listed []string
		if says := json.Unmarshal([]byte(body), &listed); err == nil && says != nil {
			t.Errorf("%q was taken for a list of missing paths: %v", body, missing)
		}
		info, err := c.Info(t.Context())
		if err == nil && (info.Name == "" || info.URI == "") {
			t.Errorf("%q was taken for a cache: %+v", body, info)
		}
		objects := new(stock)
		objects.add(t, "x", []byte("x"))
		done, err := c.Push(t.Context(), Plan{Push: objects.infos}, objects, PushOptions{})
		if len(done.Added)+len(done.Left) != 1 || (err == nil) != (len(done.Added) == 1) {
			t.Errorf("pushed %+v, error %v", done, err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
