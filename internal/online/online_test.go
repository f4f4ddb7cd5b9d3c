package online

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

const (
	pinned       = "/nix/store/ffffffffffffffffffffffffffffffff-hello"
	narinfoPath  = "/ffffffffffffffffffffffffffffffff.narinfo"
	infoPath     = "/api/v1/cache/scopecreep-zip"
	manifestPath = "/v2/nixos/nix/manifests/"
	registryAuth = "registry-token"
)

// service is a cache of Cachix and a registry, each of which can answer another way for a path.
type service struct {
	cache, registry, other *httptest.Server
	answers                map[string]http.HandlerFunc // by path
	digest                 string

	mu       sync.Mutex
	requests []string // method, host and path, and the credential
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func huge(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, 8<<20) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, strings.Repeat(" ", len(p))), nil }

func index(architectures ...string) string {
	var all []string
	for _, a := range architectures {
		all = append(all, fmt.Sprintf(`{"platform":{"os":"linux","architecture":%q}}`, a))
	}
	return `{"manifests":[` + strings.Join(all, ",") + `]}`
}

func newService(t *testing.T, change map[string]http.HandlerFunc) *service {
	t.Helper()
	public, private, err := gonix.GenerateKey("scopecreep-zip.cachix.org-1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := cachixtest.NewHandler(cachixtest.Options{SelfSigned: public.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	manifest := index("amd64", "arm64")
	s := &service{digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(manifest)))}
	s.answers = map[string]http.HandlerFunc{
		infoPath + "/pin":       text(`[{"name":"hello","lastRevision":{"storePath":"` + pinned + `"}}]`),
		narinfoPath:             text(signedInfo(t, private)),
		"/nar/x.nar":            text("12345"),
		manifestPath + s.digest: text(manifest),
		"/token":                text(`{"token":"` + registryAuth + `"}`),
	}
	maps.Copy(s.answers, change)
	s.cache, s.other = s.start(t, cache.Handler()), s.start(t, http.NotFoundHandler())
	s.registry = s.start(t, http.NotFoundHandler())
	return s
}

func signedInfo(t *testing.T, key *gonix.PrivateKey) string {
	t.Helper()
	hash := sha256.Sum256([]byte("12345"))
	info := &gonix.NARInfo{
		StorePath: pinned, URL: "nar/x.nar", Compression: gonix.NoCompression, FileSize: 5, NARSize: 5,
		NARHash: gonix.NewHash(gonix.SHA256, hash[:]), References: []gonix.StorePath{pinned},
	}
	signature, err := gonix.SignNARInfo(key, info)
	if err != nil {
		t.Fatal(err)
	}
	info.AddSignatures(signature)
	data, err := info.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (s *service) start(t *testing.T, otherwise http.Handler) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, fmt.Sprintf("%s http://%s%s %s", r.Method, r.Host, r.URL.Path, r.Header.Get("Authorization")))
		s.mu.Unlock()
		answer, changed := s.answers[r.URL.Path]
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/") && r.Header.Get("Authorization") != "Bearer "+registryAuth:
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test",scope="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case changed:
			answer(w, r)
		default:
			otherwise.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// check returns the results by ID, and checks that nothing was changed and that no credential went elsewhere.
func (s *service) check(t *testing.T, limit time.Duration) (map[string]Result, error) {
	t.Helper()
	credential, err := cachix.ParseCredential(cachixtest.TestToken)
	if err != nil {
		t.Fatal(err)
	}
	client, err := cachix.New("scopecreep-zip", cachix.Options{URL: s.cache.URL + "/api/v1", Credential: credential, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	image := strings.TrimPrefix(s.registry.URL, "http://") + "/nixos/nix:2@" + s.digest
	results := Check(context.Background(), Options{Client: client, HasToken: true, Image: image, Limit: limit})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if !strings.HasPrefix(request, "GET ") && !strings.HasPrefix(request, "HEAD ") {
			t.Errorf("it sent %s", request)
		}
		_, to, _ := strings.Cut(request, " ")
		if strings.Contains(request, cachixtest.TestToken) && !strings.HasPrefix(to, s.cache.URL+"/api/v1/") ||
			strings.Contains(request, registryAuth) && !strings.HasPrefix(to, s.registry.URL+"/v2/") {
			t.Errorf("a credential is in %s", request)
		}
	}
	byID := map[string]Result{}
	for _, r := range results {
		byID[r.ID] = r
	}
	return byID, Err(results)
}

func TestAllThatReadingShowsIsSeen(t *testing.T) {
	results, err := newService(t, nil).check(t, time.Minute)
	if err != nil {
		t.Error(err)
	}
	for _, a := range Assumptions {
		want := Seen
		if a.Check == needsPush || a.Check == needsGitHub {
			want = NotSeen
		}
		if results[a.ID].State != want {
			t.Errorf("%s: %s, want %s: %s", a.ID, results[a.ID].State, want, results[a.ID].Detail)
		}
	}
}

func TestDeviationsAreNamed(t *testing.T) {
	describe := func(permission, key string) http.HandlerFunc {
		body, _ := json.Marshal(map[string]any{
			"name": "scopecreep-zip", "uri": "http://127.0.0.1:1", "permission": permission, "publicSigningKeys": []string{key},
		})
		return text(string(body))
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	intact := newService(t, nil).digest
	var elsewhere string // a server of another host
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere+"/elsewhere", http.StatusTemporaryRedirect)
	}
	for name, test := range map[string]struct {
		path   string
		answer http.HandlerFunc
		id     string
		state  State
		detail string
	}{
		"no such cache":         {infoPath, status(404), cacheInfo, NotChecked, "status 404"},
		"refused token":         {infoPath, status(401), cacheInfo, NotChecked, "the auth token is not accepted"},
		"server error":          {infoPath, status(503), cacheInfo, NotChecked, "status 503"},
		"API redirects":         {infoPath, redirect, cacheInfo, Contradicted, "the server redirects"},
		"API hangs":             {infoPath, hang, cacheInfo, NotChecked, "no answer within"},
		"huge description":      {infoPath, huge, cacheInfo, Contradicted, "longer than"},
		"no description":        {infoPath, text(`{}`), cacheInfo, Contradicted, "does not describe a cache"},
		"another name":          {infoPath, text(`{"name":"\u001b]0;x\u0007\nother","uri":"x"}`), cacheInfo, Contradicted, `want "scopecreep-zip"`},
		"unknown permission":    {infoPath, describe("\x1b[2J\u202eWrite", "a:b"), permission, Contradicted, "want Read, Write or Admin"},
		"read only":             {infoPath, describe("Read", "a:b"), permission, Seen, "cannot push"},
		"key in another form":   {infoPath, describe("Write", "\x1b[2Jbare"), cacheKeys, Contradicted, "parse public key"},
		"absent path is there":  {infoPath + "/" + noDigest + ".narinfo", status(200), absent, Contradicted, "want 404"},
		"no pins":               {infoPath + "/pin", text(`[]`), served, NotSeen, "needs a pin"},
		"pins in another form":  {infoPath + "/pin", text(`{}`), pins, Contradicted, "read answer"},
		"no narinfo":            {narinfoPath, status(404), served, Contradicted, "ask http"},
		"unsigned narinfo":      {narinfoPath, text("StorePath: " + pinned + "\nURL: nar/x.nar\nReferences: \nCompression: none\nNarHash: sha256:" + strings.Repeat("0", 52) + "\nNarSize: 5\n"), served, Contradicted, "no key that consumers trust"},
		"narinfo with a NUL":    {narinfoPath, text("\x00\x1b[2J"), served, Contradicted, "ask http"},
		"public side is broken": {narinfoPath, status(502), served, NotChecked, "502"},
		"public side redirects": {narinfoPath, redirect, served, Contradicted, "ask http"},
		"NAR of another size":   {"/nar/x.nar", text("123"), served, Contradicted, "3 bytes"},
		"wrong digest":          {manifestPath + intact, text(index("amd64") + "\x1b[2J"), image, Contradicted, "want " + intact},
		"no manifest":           {manifestPath + intact, status(404), image, Contradicted, "404"},
		"registry redirects":    {manifestPath + intact, redirect, image, Contradicted, "307"},
		"registry hangs":        {manifestPath + intact, hang, image, NotChecked, "no answer within"},
		"registry is broken":    {manifestPath + intact, status(503), image, NotChecked, "503"},
		"huge manifest":         {manifestPath + intact, huge, image, Contradicted, "longer than"},
		"no token":              {"/token", text(`{}`), image, Contradicted, "has no token"},
		"token page":            {"/token", text("\x1b[2J<html>"), image, Contradicted, "has no token"},
		"token hangs":           {"/token", hang, image, NotChecked, "no answer within"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, map[string]http.HandlerFunc{test.path: test.answer})
			elsewhere = s.other.URL
			limit := time.Minute
			if strings.HasSuffix(name, "hang") || strings.HasSuffix(name, "hangs") {
				limit = 300 * time.Millisecond
			}
			results, err := s.check(t, limit)
			got := results[test.id]
			if got.State != test.state || !strings.Contains(got.Detail, test.detail) {
				t.Errorf("%s: %s: %q, want %s: %q", test.id, got.State, got.Detail, test.state, test.detail)
			}
			if bad := test.state == Contradicted || test.state == NotChecked; bad && (err == nil || !strings.Contains(err.Error(), test.id)) {
				t.Errorf("the error is %v, want %s in it", err, test.id)
			}
			for _, r := range results {
				if strings.ContainsAny(r.Detail, "\x1b\x00\x07\n\u202e") || len(r.Detail) > 310 {
					t.Errorf("%s: %q is not printable", r.ID, r.Detail)
				}
			}
		})
	}
}

func TestIndexNeedsBothSystems(t *testing.T) {
	for body, want := range map[string]string{index("amd64"): "linux/arm64", index("arm64"): "linux/amd64", `[]`: "read index"} {
		s := newService(t, nil)
		s.digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(body)))
		s.answers[manifestPath+s.digest] = text(body)
		results, _ := s.check(t, time.Minute)
		if got := results[systems]; got.State != Contradicted || !strings.Contains(got.Detail, want) {
			t.Errorf("%s: %v, want %s", body, got, want)
		}
	}
}

func TestReferencesNameTheirRegistry(t *testing.T) {
	const digest = "sha256:1"
	for text, want := range map[string]reference{
		"docker.io/nixos/nix:2.34.7@" + digest: {"registry-1.docker.io", "nixos/nix", digest},
		"nixos/nix@" + digest:                  {"registry-1.docker.io", "nixos/nix", digest},
		"debian:13@" + digest:                  {"registry-1.docker.io", "library/debian", digest},
		"ghcr.io/nixos/nix@" + digest:          {"ghcr.io", "nixos/nix", digest},
		"localhost:5000/nix:1@" + digest:       {"localhost:5000", "nix", digest},
	} {
		if got, err := parseReference(text); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestTokensAreOnlyAskedForByTLS(t *testing.T) {
	for _, realm := range []string{"http://example.org/token", "file:///etc/passwd", "", "://"} {
		ref := reference{host: "example.org", name: "nix"}
		if _, err := ref.token(t.Context(), nil, `Bearer realm="`+realm+`"`); err == nil || !strings.Contains(err.Error(), "no HTTPS URL") {
			t.Errorf("%s: %v", realm, err)
		}
	}
}

func TestDocsHaveTheAssumptions(t *testing.T) {
	docs, err := os.ReadFile("../../docs/publishing.md")
	if err != nil {
		t.Fatal(err)
	}
	want := "| Name | Assumption | Check |\n|---|---|---|\n"
	for _, a := range Assumptions {
		want += fmt.Sprintf("| %s | %s | %s |\n", a.ID, a.Sentence, a.Check)
	}
	if !strings.Contains(string(docs), want+"\n") {
		t.Errorf("docs/publishing.md does not have this table:\n%s", want)
	}
}
