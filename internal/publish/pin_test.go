package publish

import (
	"context"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// pinningCache records pins.
type pinningCache struct {
	Cache
	pinned []string
}

func (c *pinningCache) Pin(_ context.Context, name string, _ nix.StorePath) error {
	c.pinned = append(c.pinned, name)
	return nil
}

// The manifest of a release has the names that it has pinned. A later pin of that manifest names each once.
func TestPinOfAPinnedReleaseNamesEachPinOnce(t *testing.T) {
	to := &pinningCache{}
	cells := []run.CellResult{{
		System: "x86_64-linux", Verdict: run.Built,
		Publish:  &run.PublishResult{Verdict: run.Published, Pins: []string{"a-x86_64-linux"}},
		Packages: []run.PackageResult{{Package: "a", Verdict: run.Built, Outputs: []run.Output{{Name: "out", Path: "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-a"}}}},
	}}
	n, err := PinCells(t.Context(), to, cells)
	want := []string{"a-x86_64-linux"}
	if n != 1 || err != nil || !slices.Equal(cells[0].Publish.Pins, want) || !slices.Equal(to.pinned, want) {
		t.Errorf("%d pins, %v; named %q, made %q, want %q", n, err, cells[0].Publish.Pins, to.pinned, want)
	}
}
