package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// The flag --timeout limits all work of each command that has it.
func TestTimeoutLimitsTheWholeCommand(t *testing.T) {
	limited := 0
	for _, c := range newRoot(process{}).Commands() {
		if c.Flags().Lookup(timeoutFlag) == nil {
			continue
		}
		limited++
		t.Run(c.Name(), func(t *testing.T) {
			root := newRoot(process{})
			c, _, err := root.Find([]string{c.Name()})
			if err != nil {
				t.Fatal(err)
			}
			left := time.Duration(0)
			c.Args = cobra.ArbitraryArgs
			c.RunE = func(c *cobra.Command, _ []string) error {
				if deadline, ok := c.Context().Deadline(); ok {
					left = time.Until(deadline)
				}
				return nil
			}
			root.SetArgs([]string{c.Name(), "--timeout", "1h"})
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left <= 59*time.Minute || left > time.Hour {
				t.Errorf("%s are left of an hour", left)
			}
		})
	}
	if limited < 6 {
		t.Errorf("%d commands have the flag", limited)
	}
}

// A cache that accepts connections and sends nothing, or one byte from time to time, does not delay a release beyond its
// --timeout.
func TestTimeoutEndsTheQueryOfASilentCache(t *testing.T) {
	t.Parallel()
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	defer slow.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, url := range map[string]string{"slow": slow.URL, "silent": "http://" + silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			started := time.Now()
			code := execute(t.Context(), []string{
				"release", "example", "--engine", "host", "--timeout", "2s", "--cachix-url", url, "--out", t.TempDir(), "--since", "none",
			}, process{
				stdout: &out, stderr: &errs, environ: append(os.Environ(), "HOME="+t.TempDir(), "XDG_CACHE_HOME="+t.TempDir()),
				secrets: secrets{defaultSecret: cachixtest.TestToken},
			})
			if took := time.Since(started); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if code != exitFailed || !strings.Contains(errs.String(), "timed out after 2s (--timeout)") {
				t.Errorf("exit code %d:\n%s", code, errs.String())
			}
		})
	}
}
