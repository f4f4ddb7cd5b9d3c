package main

import (
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// A release is compared with the pinned release, and then pins its own outputs.
func TestSinceTheLastRelease(t *testing.T) {
	store := needsNix(t)
	server := cachixtest.New(cachixtest.Options{})
	defer server.Close()
	release := func(args ...string) string {
		t.Helper()
		j := newJob(t, pushed("refs/heads/main")).in(store)
		args = append([]string{
			"release", "example", "--engine", "host", "--system", "x86_64-linux", "--rebuild=off", "--contract=off",
			"--cachix-url", server.APIURL(), "--confirm-timeout", "0s",
		}, args...)
		if code := j.run(t, args...); code != 0 {
			t.Fatalf("exit code %d\n%s", code, &j.stderr)
		}
		return readTest(t, j.summary)
	}
	const column = "| Since the last release "
	if summary := release(); strings.Contains(summary, column) {
		t.Errorf("the first release is compared with another:\n%s", summary)
	}
	// The second release is the same. Before the third, the pinned sizes differ, and a package is missing.
	if summary := release(); strings.Count(summary, "| same size |") != 2 || !strings.Contains(summary, "the pins of scopecreep-zip") {
		t.Errorf("the second release is not of the same size:\n%s", summary)
	}
	client, err := cachix.New("scopecreep-zip", cachix.Options{URL: server.APIURL(), Credential: credentialOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	pins, err := client.Pins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const headless, desktop = "open-sesame-x86_64-linux", "open-sesame-desktop-x86_64-linux"
	if err := client.Pin(t.Context(), cachix.Pin{Name: desktop, Path: pins[headless]}); err != nil {
		t.Fatal(err)
	}
	if summary := release(); strings.Count(summary, "| same size |") != 1 || !strings.Contains(summary, "| +45.") {
		t.Errorf("the third release has not grown by the rest of the desktop's closure:\n%s", summary)
	}
	if summary := release("--since", "none"); strings.Contains(summary, column) {
		t.Errorf("there is a comparison despite --since none:\n%s", summary)
	}
	if asked := countRequests(server, "pins"); asked != 4 { // three releases and this test
		t.Errorf("pins were asked for %d times, want 4", asked)
	}
	server.Misbehave(cachixtest.Fault{Endpoint: "pins", Status: 404})
	if summary := release(); strings.Contains(summary, column) {
		t.Errorf("there is a comparison with a cache that does not answer:\n%s", summary)
	}
}

func credentialOf(t *testing.T) cachix.Credential {
	t.Helper()
	c, err := cachix.ParseCredential(cachixtest.TestToken)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func countRequests(s *cachixtest.Server, endpoint string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Endpoint == endpoint {
			n++
		}
	}
	return n
}

// A manifest also has the build times of outputs that are now served.
func TestSinceAManifest(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	j.event.secret = false
	before, now := cellManifest(matrix.X8664Linux), cellManifest(matrix.X8664Linux)
	before.Cells[0].Packages[0].ClosureBytes = 3 << 20
	now.Cells[0].Packages[0].Verdict, now.Cells[0].Packages[0].Seconds = "served", 0
	kept := leave(t, before)
	writeTest(t, "before.json", readTest(t, kept))
	file := leave(t, now)
	report := func(args ...string) int {
		return j.run(t, append([]string{"report", file, "--system", "x86_64-linux"}, args...)...)
	}
	if code := report("--since", "before.json"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &j.stderr)
	}
	summary := readTest(t, j.summary)
	for _, want := range []string{"| −1.0 MiB (−33.3 %) |", "that of <code>before.json</code>", "saved&#58; 1 package from being built (1.0 min when they were built)"} {
		if !strings.Contains(summary, strings.ReplaceAll(want, "&#58;", ":")) {
			t.Errorf("the summary is\n%swithout %q", summary, want)
		}
	}
	if !strings.Contains(j.stderr.String(), "2.0 MiB in 3 paths, −1.0 MiB (−33.3 %) since the last release") {
		t.Errorf("the log is\n%s", &j.stderr)
	}
	if code := report("--since", "nowhere.json"); code != exitUsage {
		t.Errorf("exit code %d for a manifest that is not there", code)
	}
	now.Cells[0].Packages[0].Outputs = append(now.Cells[0].Packages[0].Outputs, now.Cells[0].Packages[0].Outputs[0])
	leave(t, now)
	writeTest(t, j.summary, "")
	if code := report("--since", "before.json"); code != 0 || strings.Contains(readTest(t, j.summary), "MiB (") {
		t.Errorf("exit code %d; closures of other outputs are compared:\n%s", code, readTest(t, j.summary))
	}
}
