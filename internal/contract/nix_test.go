package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// machine runs the Nix of this machine, without a network.
type machine struct{ t testing.TB }

// newMachine skips the test where there is no Nix.
func newMachine(t testing.TB) machine {
	t.Helper()
	nixtest.Need(t)
	if testing.Short() {
		t.Skip("runs Nix; not with -short")
	}
	return machine{t}
}

func (m machine) run(program string, args ...string) (stdout []byte, stderr string, err error) {
	settings := []string{
		"experimental-features = nix-command flakes", "extra-platforms = aarch64-linux x86_64-linux",
		"substituters =", "sandbox = true", "fsync-metadata = false", "warn-dirty = false",
	}
	if os.Getuid() == 0 {
		settings = append(settings, "build-users-group =")
	}
	cmd := exec.CommandContext(m.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "NIX_CONFIG="+strings.Join(settings, "\n"))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		m.t.Fatal(err)
	}
	return out.Bytes(), log.String(), err
}

// must runs a command that has to succeed.
func (m machine) must(program string, args ...string) []byte {
	m.t.Helper()
	out, log, err := m.run(program, args...)
	if err != nil {
		m.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, log)
	}
	return out
}

// eval is an [Evaluator].
func (m machine) eval(expression string) ([]byte, string, error) {
	out, log, err := m.run("nix", "eval", "--json", "--show-trace", "--expr", expression)
	if err != nil {
		return nil, log, nil
	}
	return out, "", nil
}

// flake writes the example flake, changes it, and returns a locked reference to it.
func (m machine) flake(change func(dir string)) string {
	m.t.Helper()
	return m.reference(func(dir string) error {
		if err := example.Write(dir); err != nil {
			return err
		}
		change(dir)
		return nil
	})
}

// reference writes a flake, and returns a locked reference to it.
func (m machine) reference(write func(dir string) error) string {
	m.t.Helper()
	dir := filepath.Join(m.t.TempDir(), "source")
	if err := write(dir); err != nil {
		m.t.Fatal(err)
	}
	hash, _, err := nar.HashTree(m.t.Context(), dir)
	if err != nil {
		m.t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0)
	err = filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error { // Nix compares the newest with the reference
		return errors.Join(err, os.Chtimes(name, at, at))
	})
	if err != nil {
		m.t.Fatal(err)
	}
	q := url.Values{"narHash": {hash.SRI()}, "lastModified": {strconv.FormatInt(at.Unix(), 10)}, "rev": {strings.Repeat("c0ffee00", 5)}}
	return "path:" + dir + "?" + q.Encode()
}

// evaluate returns the results of the evaluated checks.
func (m machine) evaluate(c *Contract, flake string, system matrix.System) []Result {
	m.t.Helper()
	results, err := c.Evaluate(Request{System: system, Flake: flake}, m.eval)
	if err != nil {
		m.t.Fatal(err)
	}
	return results
}

// build builds the packages of a flake, and reads the files that the checks need.
func (m machine) build(c *Contract, flake string, system matrix.System) Build {
	m.t.Helper()
	sandboxed := true
	b := Build{System: system, Outputs: map[matrix.Package]nix.StorePath{}, Sandboxed: &sandboxed}
	var outs []string
	for name := range c.Packages {
		attribute := flake + "#packages." + string(system) + "." + string(name)
		var built []struct{ Outputs map[string]string }
		if err := json.Unmarshal(m.must("nix", "build", "--json", "--no-link", "--no-update-lock-file", attribute), &built); err != nil {
			m.t.Fatal(err)
		}
		out := built[0].Outputs["out"]
		b.Outputs[name] = nix.StorePath(out)
		outs = append(outs, out)
	}
	var err error
	b.Closure, err = nix.ParsePathInfo(m.must("nix", append([]string{"path-info", "--json", "--recursive"}, outs...)...))
	if err != nil {
		m.t.Fatal(err)
	}
	paths := []string{"--export"}
	for _, p := range c.Exported(b) {
		paths = append(paths, string(p))
	}
	if expression := c.Environment(b); expression != "" {
		b.Environment = nix.StorePath(strings.TrimSpace(string(m.must("nix-build", "--no-out-link", "-E", expression))))
		paths = append(paths, string(b.Environment))
	}
	b.Files, err = ReadFiles(bytes.NewReader(m.must("nix-store", paths...)))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func TestExampleSatisfiesItsContract(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	c := openSesame()
	flake := m.flake(func(string) {})
	for _, system := range matrix.DefaultSystems() {
		t.Run(string(system), func(t *testing.T) {
			nixtest.NeedSystem(t, system)
			m := machine{t}
			results := append(m.evaluate(c, flake, system), c.Built(m.build(c, flake, system))...)
			for _, r := range c.Finish(results, system, c.Planned()) {
				if r.Status != Pass && !(r.Status == Skip && r.Check == "units/verify") {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

// Sections and lists that a contract lacks are no error of its expression.
func TestSmallContracts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flake := m.flake(func(string) {})
	for name, c := range map[string]*Contract{
		"nothing":  {},
		"shell":    {Outputs: Outputs{DevShells: []string{"default"}}},
		"module":   {Outputs: Outputs{Modules: []string{"default"}}},
		"overlay":  {Outputs: Outputs{Overlay: "default"}},
		"filter":   {SourceFilter: &SourceFilter{Packages: []matrix.Package{"open-sesame"}, Ignores: []string{"docs"}}},
		"lock":     {Lock: &Lock{}, Outputs: Outputs{Overlay: "default"}},
		"disabled": {HomeManager: &HomeManager{Module: "none", Option: "programs.open-sesame"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range m.evaluate(c, flake, native()) {
				if r.Status != Pass && r.Status != Skip {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
