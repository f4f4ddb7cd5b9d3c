package compare

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// readManifest reads a manifest and its outputs. Their contents are in the binary cache beside it, or in the store.
func (s *Subject) readManifest(file string) (err error) {
	if s.manifest, err = run.ReadManifest(file); err != nil {
		return err
	}
	cache, err := binarycache.OpenReadOnly(filepath.Join(filepath.Dir(file), "cache"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, cell := range s.manifest.Cells {
		for _, p := range cell.Packages {
			for _, o := range p.Outputs {
				out := setOutput{name: outputName(p.Package, o.Name), system: string(cell.System), path: o.Path}
				if o.NARHash != "" {
					if out.hash, err = nix.ParseHash(o.NARHash); err != nil {
						return fmt.Errorf("read manifest %s: output %s: %v", s.name, out.name, err)
					}
				}
				if err := out.find(cache); err != nil {
					return fmt.Errorf("read manifest %s: %w", s.name, err)
				}
				s.outputs = append(s.outputs, out)
			}
		}
	}
	return nil
}

// outputName is the package, with the output unless that is "out".
func outputName(pkg matrix.Package, output string) string {
	if output == "out" {
		return string(pkg)
	}
	return string(pkg) + "." + output
}

// find looks for an output in the cache beside the manifest; nil is none. Both must have the same hash.
func (o *setOutput) find(cache *binarycache.Dir) error {
	if cache == nil {
		return nil
	}
	info, err := cache.Info(o.path)
	if errors.Is(err, binarycache.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !o.hash.IsZero() && !info.NARHash.Equal(o.hash) {
		return hint.Wrap(fmt.Errorf("the NAR hash of %s is %s in it, but %s in the cache beside it", o.path, o.hash.SRI(), info.NARHash.SRI()),
			"one of them was edited, or is from another run")
	}
	return o.inCache(cache, info)
}

// fields are the fields of two manifests that differ.
type fields []Field

func (f *fields) add(name string, a, b any) {
	if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
		*f = append(*f, Field{name, x, y})
	}
}

func (f *fields) addAll(prefix string, a, b map[string]string) {
	names := map[string]string{}
	maps.Copy(names, a)
	maps.Copy(names, b)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f.add(prefix+name, a[name], b[name])
	}
}

// sources returns the fields of the sources of two manifests that differ.
func sources(a, b *run.Manifest) (differing fields) {
	s, t := a.Source, b.Source
	differing.add("source.url", s.URL, t.URL)
	differing.add("source.rev", s.Rev, t.Rev)
	differing.add("source.subdir", s.Subdir, t.Subdir)
	differing.add("source.narHash", s.NARHash, t.NARHash)
	differing.add("source.lastModified", s.LastModified, t.LastModified)
	differing.add("source.dirty", s.Dirty, t.Dirty)
	differing.add("source.lockHash", s.LockHash, t.LockHash)
	differing.addAll("source.overrides.", s.Overrides, t.Overrides)
	return differing
}

// Conditions returns the fields of two manifests that differ and say how they were built: the program, the settings of Nix,
// and the engines and sandboxes of the systems that both have.
func Conditions(a, b *run.Manifest) []Field {
	var differing fields
	differing.add("tool", a.Tool, b.Tool)
	differing.addAll("settings.", a.Settings, b.Settings)
	for _, y := range b.Cells {
		x, ok := a.Cell(y.System)
		if !ok || x.Engine == nil || y.Engine == nil {
			continue
		}
		prefix := string(y.System) + " engine."
		differing.add(prefix+"kind", x.Engine.Kind, y.Engine.Kind)
		differing.add(prefix+"version", x.Engine.Version, y.Engine.Version)
		differing.add(prefix+"nix", x.Engine.Nix.Text, y.Engine.Nix.Text)
		differing.add(prefix+"image", x.Engine.Image, y.Engine.Image)
		differing.add(prefix+"native", x.Engine.Native, y.Engine.Native)
		differing.add(prefix+"emulator", x.Engine.Emulator, y.Engine.Emulator)
		differing.add(prefix+"cores", x.Engine.Cores, y.Engine.Cores)
		if x.Sandbox != nil && y.Sandbox != nil {
			differing.add(string(y.System)+" sandbox", *x.Sandbox, *y.Sandbox)
		}
	}
	return differing
}

// isOfTree reports whether a field belongs to the source tree. If one of these differs, outputs can differ for that
// reason. A URL is not one of them: two URLs can have the same tree.
func (f Field) isOfTree() bool {
	switch name, _, _ := strings.Cut(strings.TrimPrefix(f.Name, "source."), "."); name {
	case "rev", "subdir", "narHash", "lastModified", "overrides":
		return true
	}
	return false
}
