package example

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// TestBroken checks Nix's message about each broken fixture, and that the other package is good.
func TestBroken(t *testing.T) {
	for _, test := range []struct {
		name      string
		attribute string
		flags     []string
		want      []string
	}{
		{
			"failing-check", "packages.x86_64-linux.open-sesame-desktop", nil,
			[]string{"Running phase: checkPhase", "test number_40 ... FAILED", "failed with exit code 1"},
		},
		{"killed", "packages.x86_64-linux.open-sesame-desktop", nil, []string{"failed with exit code 137"}},
		{
			"silent", "packages.x86_64-linux.open-sesame-desktop",
			[]string{"--max-silent-time", "1"},
			[]string{"Running phase: buildPhase", "timed out after 1 seconds"},
		},
		{
			"hash-mismatch", "packages.x86_64-linux.open-sesame-desktop", nil,
			[]string{"hash mismatch in fixed-output derivation", "specified: sha256-AAAA", "got:    sha256-"},
		},
		{
			"eval-error", "packages.aarch64-linux.open-sesame-desktop", nil,
			[]string{"open-sesame-desktop has no feature list for aarch64-linux"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			nixtest.NeedSystem(t, matrix.X8664Linux)
			n := newNix(t)
			flake := n.snapshot(fixture(test.name))
			n.build(flake, "packages.x86_64-linux.open-sesame")
			args := append([]string{"nix", "build", "-L", "--no-link", "--no-update-lock-file"}, test.flags...)
			_, log, err := n.run(append(args, flake+"#"+test.attribute)...)
			if err == nil {
				t.Error("it builds")
			}
			for _, want := range test.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %q:\n%s", want, log)
				}
			}
		})
	}
}

func TestOther(t *testing.T) {
	nixtest.NeedSystem(t, matrix.X8664Linux)
	n := newNix(t)
	paths, _ := n.build(n.snapshot(fixture("other")), "packages.x86_64-linux.hello", "packages.x86_64-linux.tools")
	if got, _ := n.must(filepath.Join(paths[1], "bin/hello")); got != "Hello" {
		t.Errorf("hello says %q", got)
	}
}

// TestSlow uses both settings of the fixture: a new salt, so that it builds, and a log of a megabyte.
func TestSlow(t *testing.T) {
	nixtest.NeedSystem(t, matrix.X8664Linux)
	n := newNix(t)
	flake := n.snapshot(func(dir string) error {
		if err := WriteFixture(dir, "slow"); err != nil {
			return err
		}
		salt := strconv.FormatInt(time.Now().UnixNano(), 10)
		if err := os.WriteFile(filepath.Join(dir, "salt"), []byte(salt), 0o644); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "log-bytes"), []byte("1000000\n"), 0o644)
	})
	begin := time.Now()
	_, log := n.build(flake, "packages.x86_64-linux.open-sesame")
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("it took %v only", took)
	}
	if len(log) < 1e6 {
		t.Errorf("the log has %d bytes only", len(log))
	}
}

// TestOutputHashes breaks the table of hashes in the two ways that occur in practice.
func TestOutputHashes(t *testing.T) {
	const entry = `"nucleo-0.5.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY=";`
	for name, test := range map[string]struct{ instead, want string }{
		"missing": {"", "No hash was found while vendoring the git dependency nucleo-0.5.0"},
		"wrong": {
			`"nucleo-0.5.0" = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";`,
			"hash mismatch in fixed-output derivation",
		},
	} {
		t.Run(name, func(t *testing.T) {
			nixtest.NeedSystem(t, matrix.X8664Linux)
			n := newNix(t)
			flake := n.snapshot(func(dir string) error {
				if err := Write(dir); err != nil {
					return err
				}
				file := filepath.Join(dir, "nix/package.nix")
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				return os.WriteFile(file, []byte(strings.Replace(string(text), entry, test.instead, 1)), 0o644)
			})
			_, log, err := n.run("nix", "build", "--no-link", "--no-update-lock-file", flake+"#packages.x86_64-linux.open-sesame")
			if err == nil || !strings.Contains(log, test.want) {
				t.Errorf("%v, want an error with %q:\n%s", err, test.want, log)
			}
		})
	}
}

// TestUnreproducible builds the fixture twice: one package is the same each time, the other differs.
func TestUnreproducible(t *testing.T) {
	nixtest.NeedSystem(t, matrix.X8664Linux)
	n := newNix(t)
	flake := n.snapshot(fixture("unreproducible"))
	n.build(flake, "packages.x86_64-linux.open-sesame", "packages.x86_64-linux.open-sesame-desktop")
	again := []string{"nix", "build", "--rebuild", "--no-link", "--no-update-lock-file"}
	if _, log, err := n.run(append(again, flake+"#packages.x86_64-linux.open-sesame")...); err != nil {
		t.Errorf("open-sesame: %v\n%s", err, log)
	}
	if _, log, err := n.run(append(again, flake+"#packages.x86_64-linux.open-sesame-desktop")...); err == nil || !strings.Contains(log, "may not be deterministic") {
		t.Errorf("open-sesame-desktop: %v\n%s", err, log)
	}
}
