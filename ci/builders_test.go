package main

import (
	"encoding/base64"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// release is the command line that releases the packages of a fixture for one system, without a contract.
func (w *workspace) release(t *testing.T, fixture string, args ...string) []string {
	t.Helper()
	if fixture != exampleFlake {
		if err := example.WriteFixture(filepath.Join(w.dir, fixture), fixture); err != nil {
			t.Fatal(err)
		}
		fixture = "./" + fixture
	}
	return append([]string{
		"release", fixture, "--engine", "host", "--system", "x86_64-linux", "--out", "out", "--contract", "off",
		"--substituter", "none", "--served-by", "none", "--memlock", "0",
	}, args...)
}

// both are the packages of most fixtures.
var both = []string{"--package", "open-sesame", "--package", "open-sesame-desktop"}

// built has the number of derivations that each machine built, by its address.
func built(m *run.Manifest) map[string]int {
	by := map[string]int{}
	for _, machine := range m.Cells[0].Machines {
		by[strings.TrimPrefix(machine.Builder, "ssh-ng://")] = machine.Built
	}
	return by
}

// Remote builders are tested over a real ssh. Each has its own Nix store.
func TestRemoteBuilders(t *testing.T) {
	t.Parallel()
	needsTime(t)
	f := newFarm(t)
	one, two := f.builder(t, 2, "sandbox = true\n"), f.builder(t, 3, "sandbox = true\n")
	open, root := f.builder(t, 4, "sandbox = false\n"), f.builder(t, 5, "sandbox = true\nbuild-users-group =\n")

	// With both protocols, a good package is never shown as failed, and nothing is shown twice.
	for _, scheme := range []string{"ssh-ng", "ssh"} {
		t.Run("each package is shown once over "+scheme, func(t *testing.T) {
			w := f.workspace(t)
			r := w.run(t, append(w.release(t, "failing-check", both...), "--rebuild=off", "--jobs", "0", "--builders", one.line(t, scheme, 4))...)
			if r.code != exitFailed {
				t.Errorf("exit code %d", r.code)
			}
			r.count(t, "✘ failed ", 1)
			r.count(t, "✔ built ", 3) // a shell, stdenv, open-sesame
			r.count(t, "│ test number_40 ... FAILED", 1)
			cell := r.manifest.Cells[0]
			good, bad := cell.Packages[0], cell.Packages[1]
			if good.Verdict != run.Built || good.Builder != scheme+"://127.0.0.2" || bad.Failure == nil || bad.Failure.Kind != run.BuilderFailed {
				t.Errorf("packages are recorded as %+v, %+v", good, bad)
			}
			if scheme == "ssh-ng" && bad.Failure.Phase != "checkPhase" { // ssh does not report phases
				t.Errorf("it failed in %q", bad.Failure.Phase)
			}
			if m := cell.Machines; len(m) != 1 || m[0].Built != 3 || m[0].Sandbox == nil || !*m[0].Sandbox || m[0].Cores == 0 || m[0].Kernel == "" {
				t.Errorf("machines are recorded as %+v", m)
			}
		})
	}

	t.Run("one that is down is mentioned, and this machine builds", func(t *testing.T) {
		w := f.workspace(t)
		r := w.run(t, w.release(t, "other", "--package", "hello", "--builders", f.line(t, "ssh-ng", "127.0.0.9", 4))...)
		if r.code != 0 {
			t.Errorf("exit code %d", r.code)
		}
		r.count(t, "remote builder ssh-ng://127.0.0.9 is not used: ", 1)
		r.count(t, "connect to host 127.0.0.9 port 22: Connection refused", 1)
		if by := built(r.manifest); len(by) != 1 || by[""] == 0 {
			t.Errorf("built by %v, want this machine alone", by)
		}
	})

	t.Run("nothing builds where all are down and this machine may not", func(t *testing.T) {
		w := f.workspace(t)
		r := w.run(t, w.release(t, "other", "--package", "hello", "--jobs", "0", "--builders", f.line(t, "ssh-ng", "127.0.0.9", 4))...)
		if r.code != exitFailed || r.manifest.Cells[0].Work != nil {
			t.Errorf("exit code %d, work %+v", r.code, r.manifest.Cells[0].Work)
		}
		r.count(t, "Connection refused", 1)
	})

	t.Run("one whose host key is another is not used", func(t *testing.T) {
		w := f.workspace(t)
		fields := strings.Fields(one.line(t, "ssh-ng", 4))
		fields[7] = base64.StdEncoding.EncodeToString([]byte(readTest(t, filepath.Join(f.dir, "user.pub"))))
		r := w.run(t, w.release(t, "other", "--package", "hello", "--rebuild=off", "--builders", strings.Join(fields, " ")+" ; "+two.line(t, "ssh-ng", 4))...)
		if r.code != 0 {
			t.Errorf("exit code %d", r.code)
		}
		r.count(t, "remote builder ssh-ng://127.0.0.2 is not used: ", 1)
		r.count(t, "Host key verification failed", 1)
		if by := built(r.manifest); by["127.0.0.3"] == 0 || len(by) != 2 {
			t.Errorf("built by %v", by)
		}
	})

	t.Run("two at once", func(t *testing.T) {
		w := f.workspace(t)
		lines := one.line(t, "ssh-ng", 1) + "\n" + two.line(t, "ssh-ng", 1)
		r := w.run(t, append(w.release(t, "slow", both...), "--jobs", "0", "--builders", lines)...)
		if r.code != 0 {
			t.Errorf("exit code %d", r.code)
		}
		r.count(t, "✔ built ", 4)
		var on []string
		for _, p := range r.manifest.Cells[0].Packages {
			on = append(on, p.Builder)
		}
		slices.Sort(on)
		if want := []string{"ssh-ng://127.0.0.2", "ssh-ng://127.0.0.3"}; !slices.Equal(on, want) {
			t.Errorf("the packages were built on %v, want %v", on, want)
		}
		if by := built(r.manifest); by["127.0.0.2"]+by["127.0.0.3"] != 4 {
			t.Errorf("built by %v, want 4 derivations", by)
		}
		r.count(t, "second builds are made on this machine, and --jobs 0 keeps it from building", 1)
	})

	// A lost builder is no result for the packages: they are built again.
	for _, scheme := range []string{"ssh-ng", "ssh"} {
		t.Run("one that breaks off over "+scheme, func(t *testing.T) {
			w := f.workspace(t)
			args := append(w.release(t, "slow", both...), "--jobs", "0", "-v", "--builders", one.line(t, scheme, 4))
			writeTest(t, filepath.Join(w.dir, "slow", "salt"), scheme) // so that the builder does not have the result
			slow := filepath.Join(w.dir, "slow", "slow.nix")
			writeTest(t, slow, strings.Replace(readTest(t, slow), "sleep 1", "echo in the middle of it\n    sleep 2\n", 1))
			stderr := &watched{word: "in the middle of it", seen: make(chan struct{})}
			wait := w.start(t, stderr, args...)
			select {
			case <-stderr.seen:
			case <-time.After(time.Minute):
				t.Error("no build has begun")
			}
			if one.breakOff(t) == 0 {
				t.Error("nothing ran on the builder")
			}
			r := wait()
			if r.code != 0 {
				t.Errorf("exit code %d", r.code)
			}
			r.count(t, "✘", 0)
			if n := strings.Count(r.stderr, "broke off: "); n < 1 || n > 2 {
				t.Errorf("%d messages that a builder broke off, want once for each build", n)
			}
			for _, p := range r.manifest.Cells[0].Packages {
				if p.Verdict != run.Built || p.Builder != scheme+"://127.0.0.2" {
					t.Errorf("%s is %s, on %q", p.Package, p.Verdict, p.Builder)
				}
			}
		})
	}

	// Outputs of a machine without a sandbox or build users are not pushed. The second build runs here, in a sandbox.
	for name, test := range map[string]struct {
		builder *remote
		want    run.PublishVerdict
		rebuild string
		reason  string
	}{
		"without a sandbox":   {open, run.Withheld, "enforce", "without a sandbox on ssh-ng://127.0.0.4"},
		"without build users": {root, run.Withheld, "enforce", "builders can change their inputs on ssh-ng://127.0.0.5"},
		"with a sandbox":      {one, run.Published, "off", ""},
	} {
		t.Run("what is built on one "+name+" is "+string(test.want), func(t *testing.T) {
			server := cachixtest.New(cachixtest.Options{})
			defer server.Close()
			at, err := url.Parse(server.APIURL())
			if err != nil {
				t.Fatal(err)
			}
			f.reach(t, at.Host)
			w := f.workspace(t)
			w.env = []string{defaultSecret + "=" + cachixtest.TestToken}
			r := w.run(t, w.release(t, exampleFlake, "--package", "open-sesame", "--rebuild="+test.rebuild,
				"--builders", test.builder.line(t, "ssh-ng", 8), "--cachix", defaultProject.Cachix, "--secret-env", defaultSecret, "--cachix-url", server.APIURL())...)
			if r.code != 0 {
				t.Errorf("exit code %d", r.code)
			}
			cell := r.manifest.Cells[0]
			published := test.want == run.Published
			if cell.Publish == nil || cell.Publish.Verdict != test.want || len(server.Paths()) > 0 != published {
				t.Errorf("publishing is recorded as %+v, and %d paths are there", cell.Publish, len(server.Paths()))
			}
			if !published && !strings.Contains(cell.Publish.Reason, test.reason) {
				t.Errorf("it is withheld for %q", cell.Publish.Reason)
			}
			if *cell.Sandbox != published || !published && (cell.Second == nil || !*cell.Second.Sandbox) {
				t.Errorf("sandbox is recorded as %t, the second build as %+v", *cell.Sandbox, cell.Second)
			}
			r.count(t, "remote builder ssh-ng://127.0.0.4 has no sandbox", map[bool]int{true: 1}[test.builder == open])
			r.count(t, "builders can change their inputs on ssh-ng://127.0.0.5, which", map[bool]int{true: 1}[test.builder == root])
			for _, problem := range server.Problems() {
				t.Errorf("a rule of the protocol was broken: %s", problem)
			}
		})
	}
}
