package pipelines

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// fakeKeeper notes what it is given to keep.
type fakeKeeper struct {
	err error

	mu   sync.Mutex
	kept map[matrix.System]string
}

func (k *fakeKeeper) Keep(ctx context.Context, system matrix.System, export func(context.Context, io.Writer) error) error {
	var out bytes.Buffer
	err := export(ctx, &out)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = map[matrix.System]string{}
	}
	k.kept[system] = strings.TrimSpace(out.String())
	return errors.Join(err, k.err)
}

// The derivations of all packages are kept, also of those that failed or that differ.
func TestDerivationsAreKept(t *testing.T) {
	run := newFakeRun(t)
	keeper := &fakeKeeper{}
	run.Derivations = keeper
	run.Rebuild = Rebuilding{}
	run.engines[matrix.X8664Linux].fails["desktop"] = []string{builderFailed}
	run.engines[matrix.AArch64Linux].differs = map[matrix.Package]bool{"headless": true}
	if _, err := run.Run(t.Context()); err == nil {
		t.Fatal("nothing failed")
	}
	drv := func(s matrix.System, p matrix.Package) string { return string(fakePath(s, p, ".drv")) }
	want := map[matrix.System]string{
		matrix.X8664Linux:   "derivations " + drv(matrix.X8664Linux, "desktop") + " " + drv(matrix.X8664Linux, "headless"),
		matrix.AArch64Linux: "derivations " + drv(matrix.AArch64Linux, "desktop") + " " + drv(matrix.AArch64Linux, "headless"),
	}
	if diff := cmp.Diff(want, keeper.kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// A disk that has no room for them is said, and no reason to fail.
func TestDerivationsThatCannotBeKept(t *testing.T) {
	release := newFakeRun(t)
	release.Derivations = &fakeKeeper{err: errors.New("no space")}
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	warned := 0
	for _, n := range of[run.Notice](release.recorder) {
		if n.Level == run.Warning && n.Text == "keep derivations: no space" {
			warned++
		}
	}
	if warned != len(release.Cells) {
		t.Errorf("%d warnings, want one for each system", warned)
	}
	// What a cache serves was not evaluated anew, so there is nothing to keep.
	keeper := &fakeKeeper{}
	release.Derivations = keeper
	if _, err := release.Run(t.Context()); err != nil || len(keeper.kept) > 0 {
		t.Errorf("error %v, kept %v", err, keeper.kept)
	}
}
