package cachix

import (
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// A credential without the right to push is rejected after one request, with the reason and a hint.
func TestCheck(t *testing.T) {
	key, public := newKey(t, 1)
	signing, err := ParseCredential(key)
	if err != nil {
		t.Fatal(err)
	}
	token := func(text string) Credential { return hide(secret{token: text}) }
	for name, test := range map[string]struct {
		server     cachixtest.Options
		credential Credential
		cache      string
		err, hint  string
	}{
		"a good token":         {cachixtest.Options{}, token(cachixtest.TestToken), "", "", ""},
		"a good key":           {cachixtest.Options{SelfSigned: public}, signing, "", "", ""},
		"both":                 {cachixtest.Options{SelfSigned: public}, signing.Join(token(cachixtest.TestToken)), "", "", ""},
		"an expired token":     {cachixtest.Options{}, token(cachixtest.ExpiredToken), "", "expired", "the auth token has expired: make another"},
		"an unknown token":     {cachixtest.Options{}, token("nobody's"), "", "the auth token is not accepted: ask for cache scopecreep-zip: status 401", "make a token with write access"},
		"a token to read with": {cachixtest.Options{Permission: "Read"}, token(cachixtest.TestToken), "", "may only read it", "make a token with write access"},
		"another's key":        {cachixtest.Options{}, signing, "", "the signing key is none of the cache's, which are: scopecreep-zip.cachix.org-1:", "take the secret half"},
		"another cache":        {cachixtest.Options{}, token(cachixtest.TestToken), "other", "", "there is no cache other"},
		"a private cache":      {cachixtest.Options{Private: true, SelfSigned: public}, signing, "", "401", "CACHIX_AUTH_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, test.server, Options{Credential: test.credential})
			if test.cache != "" {
				c.name = test.cache
			}
			_, err := c.Check(t.Context())
			if test.err == "" && test.hint == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(strings.Join(hint.Of(err), "\n"), test.hint) {
				t.Errorf("error %v with hints %q, want %q and %q", err, hint.Of(err), test.err, test.hint)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests, want one", n)
			}
		})
	}
}

func TestCheckWithoutASecret(t *testing.T) {
	c, err := New("scopecreep-zip", Options{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no secret") {
		t.Errorf("error %v", err)
	}
}

// Invalid names and URLs are errors before any request is sent. The errors contain no passwords.
func TestNewRefuses(t *testing.T) {
	for _, name := range []string{"", "a/b", "..", "a b", "a?b", "ä", strings.Repeat("a", 129)} {
		if _, err := New(name, Options{}); err == nil {
			t.Errorf("cache name %q was taken", name)
		}
	}
	for _, base := range []string{"ftp://x", "http://", "x", "https://me:secret-word@x/", "https://x/?q=secret-word", "http://x/#secret-word", "http://me:secret-word@x\x7f"} {
		if _, err := New("c", Options{URL: base}); err == nil || strings.Contains(err.Error(), "me:secret-word") {
			t.Errorf("URL %q: error %v", base, err)
		}
	}
	c, err := New("c", Options{URL: "http://x/prefix/api/v1//"})
	if err != nil || c.base != "http://x/prefix/api/v1" {
		t.Errorf("base %q, error %v", c.base, err)
	}
}
