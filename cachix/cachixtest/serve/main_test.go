package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// A server starts, prints how to use it, answers and logs requests, and leaves no files.
func TestServes(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	lines, stdout := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--listen", "127.0.0.1:0", "--name", "c", "--token", "a'b"}, stdout, &stderr)
		_ = stdout.Close()
		ended <- err
	}()

	var text strings.Builder
	base, secret := "", ""
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		text.WriteString(scanner.Text() + "\n")
		if _, after, ok := strings.Cut(scanner.Text(), "--cachix-url "); ok {
			base = strings.TrimSuffix(after, "/api/v1")
		}
		if _, after, ok := strings.Cut(scanner.Text(), "PRIVATE_KEY="); ok {
			secret = after
		}
		if strings.HasPrefix(scanner.Text(), "nix build") {
			break
		}
	}
	if base == "" || secret != `'a'\''b'` || !strings.Contains(text.String(), "c.cachix.org-1:") {
		t.Errorf("it says\n%s", text.String())
	}
	for path, want := range map[string]int{"/nix-cache-info": 200, "/api/v1/cache/c": 406} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, response.StatusCode, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended by %v", err)
	}
	for _, want := range []string{"cache-info GET /nix-cache-info 200", "info       GET /api/v1/cache/c 406", "problem: info: Accept is"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it logged no %q in\n%s", want, stderr.String())
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		usage bool
		text  string
	}{
		"unknown flag":    {[]string{"--unknown"}, true, "-unknown"},
		"an argument":     {[]string{"example"}, true, "example"},
		"no duration":     {[]string{"--latency", "20"}, true, "latency"},
		"no address":      {[]string{"--listen", "nowhere"}, false, "listen at nowhere"},
		"no key":          {[]string{"--listen", "127.0.0.1:0", "--self-signed", "x"}, false, "parse key"},
		"no directory":    {[]string{"--listen", "127.0.0.1:0", "--dir", t.TempDir() + "/absent"}, false, "no such file"},
		"no such meaning": {[]string{"--listen", "127.0.0.1:0", "--permission", "write"}, false, "Read, Write or Admin"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(t.Context(), test.args, &stdout, io.Discard)
			if err == nil || errors.Is(err, errUsage) != test.usage || !strings.Contains(err.Error(), test.text) || stdout.Len() > 0 {
				t.Errorf("error is %v, output %q", err, stdout.String())
			}
		})
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &stdout, io.Discard); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Ctrl-C", "-listen", "-dir", "-name", "-token"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the manual has no %q", want)
		}
	}
}
