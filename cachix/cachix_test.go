package cachix

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestPublicKeys(t *testing.T) {
	const key = "c.cachix.org-1:LPiVDsYXJvgljVfZPN43zBWB7ZCGFr2jZ/lBinnPGvU="
	for name, test := range map[string]struct {
		status  int
		answer  string
		want    []string
		wantErr string
	}{
		"keys":        {200, `{"name":"c","uri":"https://c.cachix.org","isPublic":true,"publicSigningKeys":["` + key + `"],"permission":"Read"}`, []string{key}, ""},
		"no keys":     {200, `{"name":"c","uri":"https://c.cachix.org","publicSigningKeys":[]}`, nil, ""},
		"no cache":    {404, `{"error":"no"}`, nil, "404"},
		"HTML":        {200, `<html>`, nil, "read answer"},
		"wrong types": {200, `{"publicSigningKeys":"x"}`, nil, "read answer"},
		"endless":     {200, `{"publicSigningKeys":["` + strings.Repeat("x", maxAnswer+1), nil, "read answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/api/cache/c" || r.Header.Get("Authorization") != "" {
					t.Errorf("request %s %s with Authorization %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.answer))
			}))
			defer server.Close()
			client, err := New("c", Options{URL: server.URL + "/api/"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.PublicKeys(t.Context())
			if !slices.Equal(got, test.want) {
				t.Errorf("keys %q, want %q", got, test.want)
			}
			if (err != nil) != (test.wantErr != "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %q", err, test.wantErr)
			}
		})
	}
}

func TestNameOf(t *testing.T) {
	for public, want := range map[string]string{
		"https://scopecreep-zip.cachix.org":  "scopecreep-zip",
		"https://scopecreep-zip.cachix.org/": "scopecreep-zip",
		"https://cache.nixos.org":            "",
		"https://cachix.org":                 "",
		"http://x.cachix.org":                "",
		"https://a.b.cachix.org":             "",
		"file:///x":                          "",
		"":                                   "",
	} {
		if got, ok := NameOf(public); ok != (want != "") || ok && got != want {
			t.Errorf("NameOf(%q) = %q, %t, want %q", public, got, ok, want)
		}
	}
}
