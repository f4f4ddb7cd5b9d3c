package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// write applies the edits to the example flake in dir.
func (mu mutant) write(t *testing.T, dir string) {
	t.Helper()
	for _, e := range mu.edits {
		file := filepath.Join(dir, e.file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), e.old) != 1 {
			t.Fatalf("%s has %q %d times, want once", e.file, e.old, strings.Count(string(text), e.old))
		}
		replaced := strings.NewReplacer("FOREIGN", string(foreign())).Replace(e.new)
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), e.old, replaced, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// check fails the test unless exactly the wanted checks have found the mutant.
func (mu mutant) check(t *testing.T, results []Result) {
	t.Helper()
	status := Fail
	if mu.warns {
		status = Warn
	}
	caught := map[string]bool{}
	for _, r := range results {
		if r.Status == Pass || r.Status == Skip {
			continue
		}
		i := slices.IndexFunc(mu.wants, func(part string) bool { return strings.Contains(r.Check, part) })
		if i < 0 || r.Status != status {
			t.Errorf("unwanted result: %+v", r)
			continue
		}
		caught[mu.wants[i]] = true
	}
	for _, want := range mu.wants {
		if !caught[want] {
			t.Errorf("no result of %s", want)
		}
	}
}

// native is the system of this machine, foreign the other one.
func native() matrix.System {
	if runtime.GOARCH == "arm64" {
		return matrix.AArch64Linux
	}
	return matrix.X8664Linux
}

func foreign() matrix.System {
	if native() == matrix.X8664Linux {
		return matrix.AArch64Linux
	}
	return matrix.X8664Linux
}

func TestEvaluatedMutants(t *testing.T) {
	newMachine(t)
	c := openSesame()
	for _, mu := range evaluatedMutants {
		t.Run(mu.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			flake := m.flake(func(dir string) { mu.write(t, dir) })
			mu.check(t, m.evaluate(c, flake, native()))
		})
	}
}

func TestBuiltMutants(t *testing.T) {
	newMachine(t)
	nixtest.NeedSystem(t, native())
	c := openSesame()
	for _, mu := range builtMutants {
		t.Run(mu.name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(strings.Join(mu.wants, " "), "verify") {
				if _, err := exec.LookPath("systemd-analyze"); err != nil {
					t.Skip("needs systemd-analyze:", err)
				}
			}
			m := newMachine(t)
			flake := m.flake(func(dir string) { mu.write(t, dir) })
			results := append(m.evaluate(c, flake, native()), c.Built(m.build(c, flake, native()))...)
			mu.check(t, c.Finish(results, native(), c.Planned()))
		})
	}
}
