package cachix

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestPins(t *testing.T) {
	const path = "/nix/store/1b9p07z77phvv2hf6gm9f28syp39f1ag-openssl-3.4.0"
	for name, test := range map[string]struct {
		status  int
		answer  string
		want    map[string]nix.StorePath
		wantErr string
	}{
		"none": {200, `[]`, map[string]nix.StorePath{}, ""},
		"some": {
			200, `[{"name":"a","createdOn":"2026-01-01","lastRevision":{"revision":3,"storePath":"` + path + `","artifacts":[]}}]`,
			map[string]nix.StorePath{"a": path},
			"",
		},
		"no path":     {200, `[{"name":"a","lastRevision":null}]`, nil, "pin a: "},
		"no cache":    {404, `{"error":"no"}`, nil, "404"},
		"wrong types": {200, `{"pins":[]}`, nil, "read answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/cache/c/pin" || r.Header.Get("Authorization") != "" {
					t.Errorf("request %s %s with Authorization %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.answer))
			}))
			defer server.Close()
			client, err := New("c", Options{URL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Pins(t.Context())
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (err != nil) != (test.wantErr != "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %q", err, test.wantErr)
			}
		})
	}
}
