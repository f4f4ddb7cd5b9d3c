package pipelines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// tree is a snapshot that holds these files.
func tree(t *testing.T, files ...string) run.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for _, file := range files {
		name := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return run.Snapshot{Dir: dir, URL: "github:o/r/abc", Rev: "abc", NARHash: "sha256-LKC4zplvhl2zdhm/6RAjVZMFqtgVgEL8bdsO8dQ8W2c=", LastModified: 1}
}

func TestDefinition(t *testing.T) {
	s := tree(t, "nix/package.nix")
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		t.Fatal(err)
	}
	want := &run.Line{File: "nix/package.nix", Line: 12}
	for position, want := range map[string]*run.Line{
		string(source) + "/nix/package.nix:12":                                            want,
		string(source) + "/nix/package.nix:12:3":                                          want,
		"/another/root" + string(source) + "/nix/package.nix:12":                          want,
		string(source) + "/nix/other.nix:12":                                              nil,
		strings.Replace(string(source), "/store/", "/store/0", 1) + "/nix/package.nix:12": nil, // an input's file of the same name
		"": nil, "nix/package.nix": nil,
	} {
		if diff := cmp.Diff(want, definition(s, position)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", position, diff)
		}
	}
}

// A failed build has a line: that in its log, or else the one that defines the package.
func TestFailuresHaveALine(t *testing.T) {
	s := tree(t, "nix/package.nix", "src/main.c")
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		t.Fatal(err)
	}
	release := newFakeRun(t)
	release.Source = fakeSource{s}
	engine := release.engines[matrix.X8664Linux]
	engine.position = string(source) + "/nix/package.nix:12"
	engine.says = map[matrix.Package]string{"headless": "src/main.c:7:2: error: 'y' undeclared"}
	for _, p := range fakePackages {
		engine.fails[p] = []string{"error: builder for '%s' failed with exit code 1"}
	}
	m, _ := release.Run(t.Context())
	want := map[matrix.Package]*run.Line{"headless": {File: "src/main.c", Line: 7}, "desktop": {File: "nix/package.nix", Line: 12}}
	for _, p := range m.Cells[0].Packages {
		if p.Failure == nil || !cmp.Equal(p.Failure.At, want[p.Package]) || !cmp.Equal(p.Defined, want["desktop"]) {
			t.Errorf("%s: %+v, defined at %+v", p.Package, p.Failure, p.Defined)
		}
	}
	withLine := 0
	for _, e := range of[run.BuildFinished](release.recorder) {
		if e.Failure != nil && e.Failure.At != nil {
			withLine++
		}
	}
	if withLine != 2 {
		t.Errorf("%d events of failed builds have a line, want 2", withLine)
	}
}
