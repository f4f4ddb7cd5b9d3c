package pipelines

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// keptDerivations returns the content of the files in a directory, by system.
func keptDerivations(t *testing.T, dir *regular.Dir) map[matrix.System]string {
	t.Helper()
	kept := map[matrix.System]string{}
	for _, system := range matrix.DefaultSystems() {
		file := derivations.File(dir, string(system))
		data, err := file.Dir.Read(file.Base, 1<<20)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		z, zErr := zstd.NewReader(bytes.NewReader(data))
		if err := errors.Join(err, zErr); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		kept[system] = strings.TrimSpace(string(text))
	}
	return kept
}

// The derivations of all packages are kept, including those that fail or differ.
func TestDerivationsAreKept(t *testing.T) {
	run := newFakeRun(t)
	run.Derivations = regular.NewDir(t.TempDir())
	run.Rebuild = Rebuilding{}
	run.engines[matrix.X8664Linux].fails["desktop"] = []string{builderFailed}
	run.engines[matrix.AArch64Linux].differs = map[matrix.Package]bool{"headless": true}
	if _, err := run.Run(t.Context()); err == nil {
		t.Fatal("nothing failed")
	}
	drv := func(s matrix.System, p matrix.Package) string { return string(fakePath(s, p, ".drv")) }
	want := map[matrix.System]string{
		matrix.X8664Linux:   drv(matrix.X8664Linux, "desktop") + " " + drv(matrix.X8664Linux, "headless"),
		matrix.AArch64Linux: drv(matrix.AArch64Linux, "desktop") + " " + drv(matrix.AArch64Linux, "headless"),
	}
	if diff := cmp.Diff(want, keptDerivations(t, run.Derivations)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// A full disk is a warning.
func TestUnkeptDerivationsAreAWarning(t *testing.T) {
	release := newFakeRun(t)
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "derivations"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	release.Derivations = regular.NewDir(out) // in which no directory can be made
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	warned := 0
	for _, n := range of[run.Notice](release.recorder) {
		if n.Level == run.Warning && strings.HasPrefix(n.Text, "keep derivations: ") {
			warned++
		}
	}
	if warned != len(release.Cells) {
		t.Errorf("%d warnings, want one for each system", warned)
	}
	// Packages that a cache has are not evaluated, so there are no derivations to keep.
	release.Derivations = regular.NewDir(t.TempDir())
	if _, err := release.Run(t.Context()); err != nil || len(keptDerivations(t, release.Derivations)) > 0 {
		t.Errorf("error %v, kept %v", err, keptDerivations(t, release.Derivations))
	}
}
