package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var update = flag.Bool("update", false, "write the golden file")

// recorded is the narinfo files of a run of the example, and its manifest; there are no NARs.
func recorded(t *testing.T) (*binarycache.Dir, *run.Manifest) {
	t.Helper()
	dir, err := binarycache.OpenReadOnly(filepath.Join("testdata", "cache"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := new(run.Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func TestWriteGolden(t *testing.T) {
	dir, m := recorded(t)
	out := t.TempDir()
	names, err := Write(t.Context(), regular.NewDir(out), m, dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"sbom/open-sesame-x86_64-linux.cdx.json", "sbom/open-sesame-desktop-x86_64-linux.cdx.json"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
	for _, name := range names {
		got, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, got, 0o644))
			if err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the document is not %s; to write it: go test ./internal/sbom -update\n%s", golden, got)
		}
		bom := new(cdx.BOM)
		if err := cdx.NewBOMDecoder(bytes.NewReader(got), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkReferences(t, bom)
	}
}

// checkReferences checks what the schema cannot: each reference has a component, and each component is referenced.
func checkReferences(t *testing.T, bom *cdx.BOM) {
	t.Helper()
	known := map[string]bool{bom.Metadata.Component.BOMRef: true}
	for _, c := range *bom.Components {
		if known[c.BOMRef] {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		known[c.BOMRef] = true
	}
	dependencies := map[string][]string{}
	for _, d := range *bom.Dependencies {
		if d.Dependencies != nil {
			dependencies[d.Ref] = *d.Dependencies
		} else {
			dependencies[d.Ref] = nil
		}
		for _, ref := range append([]string{d.Ref}, dependencies[d.Ref]...) {
			if !known[ref] {
				t.Errorf("%s has no component", ref)
			}
		}
	}
	reached := map[string]bool{}
	for todo := []string{bom.Metadata.Component.BOMRef}; len(todo) > 0; todo = todo[1:] {
		if !reached[todo[0]] {
			reached[todo[0]] = true
			todo = append(todo, dependencies[todo[0]]...)
		}
	}
	if len(reached) != len(known) || len(dependencies) != len(known) {
		t.Errorf("%d components, %d with dependencies, %d reached", len(known), len(dependencies), len(reached))
	}
}

func TestWriteSkipsPackagesOutsideTheCache(t *testing.T) {
	dir, m := recorded(t)
	m.Cells[0].Packages[0].Verdict = run.Failed
	m.Cells[0].Packages[1].Outputs[0].Path = "/nix/store/00000000000000000000000000000000-elsewhere"
	names, err := Write(t.Context(), regular.NewDir(t.TempDir()), m, dir)
	if err != nil || len(names) != 0 {
		t.Errorf("files %q, error %v, want none of either", names, err)
	}
}

func TestIncompleteCache(t *testing.T) {
	dir, m := recorded(t)
	hole := t.TempDir()
	if err := os.CopyFS(hole, os.DirFS(dir.Name())); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(hole, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if data, _ := os.ReadFile(f); bytes.Contains(data, []byte("-fontconfig-2.17.1\nURL")) {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	d, err := binarycache.OpenReadOnly(hole)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	names, err := Write(t.Context(), regular.NewDir(out), m, d)
	if !errors.Is(err, binarycache.ErrNotFound) || !strings.Contains(err.Error(), "-fontconfig-2.17.1") || len(names) != 1 {
		t.Errorf("files %q, error %v, want that fontconfig is not found", names, err)
	}
	if _, err := os.Stat(filepath.Join(out, FileName("open-sesame-desktop", "x86_64-linux"))); err == nil {
		t.Error("half a list was written")
	}
}

// info returns the metadata of a made-up store object, with the hash of its digest.
func info(base string, refs ...string) nix.PathInfo {
	path := func(base string) nix.StorePath { return nix.StorePath("/nix/store/" + strings.Repeat("0", 31) + base) }
	i := nix.PathInfo{Path: path(base), NARHash: gonix.NewHash(gonix.SHA256, bytes.Repeat([]byte{base[0]}, 32)), NARSize: 1}
	for _, r := range refs {
		i.References = append(i.References, path(r))
	}
	return i
}

func TestOf(t *testing.T) {
	lib, out, dev, other := info("1-lib-1.0"), info("2-p-2.0", "1-lib-1.0", "2-p-2.0"), info("3-p-2.0-dev", "2-p-2.0"), info("4-other", "5-gone")
	out.Deriver, dev.Deriver = "/nix/store/"+nix.StorePath(strings.Repeat("0", 32))+"-p-2.0.drv", "/nix/store/"+nix.StorePath(strings.Repeat("0", 32))+"-p-2.0.drv"
	p := Package{
		Name: "p", System: "x86_64-linux", Outputs: []nix.StorePath{out.Path, dev.Path},
		Tool: "open-sesame-ci 0.1.0", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)),
	}
	bom, err := Of(p, []nix.PathInfo{other, dev, lib, out})
	if err != nil {
		t.Fatal(err)
	}
	checkReferences(t, bom)
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.PackageURL)
	}
	if want := []string{"pkg:nix/lib@1.0", "pkg:nix/p@2.0", "pkg:nix/p@2.0"}; !slices.Equal(got, want) {
		t.Errorf("components %q, want %q", got, want)
	}
	if got := bom.Metadata.Timestamp; got != "2026-01-02T02:04:05Z" {
		t.Errorf("time %s", got)
	}
	if got := *(*bom.Dependencies)[2].Dependencies; !slices.Equal(got, []string{ref(lib.Path)}) {
		t.Errorf("an output that refers to itself depends on %q", got)
	}

	again, err := Of(p, []nix.PathInfo{out, lib, dev})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := encode(t, bom), encode(t, again); !bytes.Equal(a, b) {
		t.Errorf("the order of the closure matters:\n%s\n%s", a, b)
	}
	changed := out
	changed.NARHash = lib.NARHash
	third, err := Of(p, []nix.PathInfo{changed, lib, dev})
	if err != nil || third.SerialNumber == bom.SerialNumber {
		t.Errorf("serial number %s of other contents, error %v", third.SerialNumber, err)
	}

	if _, err := Of(p, []nix.PathInfo{out, dev}); err == nil || !strings.Contains(err.Error(), "1-lib-1.0, which") {
		t.Errorf("error %v, want that lib is not in the closure", err)
	}
	if _, err := Of(p, []nix.PathInfo{out, lib}); err == nil || !strings.Contains(err.Error(), "its output /nix/store/") {
		t.Errorf("error %v, want that dev is not in the closure", err)
	}
}

func encode(t *testing.T, bom *cdx.BOM) []byte {
	t.Helper()
	data, err := Encode(bom)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPurl(t *testing.T) {
	for want, p := range map[string][2]string{
		"pkg:nix/hello@2.12.1":     {"hello", "2.12.1"},
		"pkg:nix/source":           {"source", ""},
		"pkg:nix/gtk%2B@3%2Bgit":   {"gtk+", "3+git"},
		"pkg:nix/a%3Fb%3Dc@1_2-.~": {"a?b=c", "1_2-.~"},
	} {
		if got := purl(p[0], p[1]); got != want {
			t.Errorf("purl(%q) = %s, want %s", p, got, want)
		}
	}
}
