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
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ManifestVersion is the version of the schema that this package reads.
const ManifestVersion = 1

// maxManifest is the size limit of a manifest.
const maxManifest = 64 << 20

// manifest has the fields of docs/manifest.md that a comparison needs.
type manifest struct {
	Version  *int            `json:"version"`
	Started  string          `json:"started"`
	Finished string          `json:"finished"`
	Source   *flake.Snapshot `json:"source"`
	Cells    []manifestCell  `json:"cells"`
}

type manifestCell struct {
	System   string          `json:"system"`
	Engine   *manifestEngine `json:"engine"`
	Emulated bool            `json:"emulated"`
	Sandbox  *bool           `json:"sandbox"`
	Packages []struct {
		Package string `json:"package"`
		Outputs []struct {
			Name    string        `json:"name"`
			Path    nix.StorePath `json:"path"`
			NARHash string        `json:"narHash"`
		} `json:"outputs"`
	} `json:"packages"`
}

type manifestEngine struct {
	Kind     string `json:"kind"`
	Image    string `json:"image"`
	Nix      string `json:"nix"`
	Emulator string `json:"emulator"`
	Cores    int    `json:"cores"`
}

// readManifest reads a manifest and its outputs. Their contents are in the binary cache beside it, or in the store.
func readManifest(name, file string) (Set, error) {
	data, err := regular.Read(file, maxManifest)
	if err != nil {
		return Set{}, fmt.Errorf("read manifest %s: %w", shown(name), err)
	}
	m, err := parseManifest(data)
	if err != nil {
		return Set{}, fmt.Errorf("parse manifest %s: %w", shown(name), err)
	}
	cache, err := binarycache.OpenReadOnly(filepath.Join(filepath.Dir(file), "cache"))
	if errors.Is(err, fs.ErrNotExist) {
		cache, err = nil, nil
	}
	if err != nil {
		return Set{}, err
	}
	set := Set{Name: name, manifest: m}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			for _, o := range p.Outputs {
				out := setOutput{name: outputName(p.Package, o.Name), system: cell.System, path: o.Path}
				if o.NARHash != "" {
					if out.hash, err = nix.ParseHash(o.NARHash); err != nil {
						return Set{}, fmt.Errorf("parse manifest %s: output %s: %v", shown(name), shown(out.name), err)
					}
				}
				if err := out.find(cache); err != nil {
					return Set{}, fmt.Errorf("read manifest %s: %w", shown(name), err)
				}
				set.outputs = append(set.outputs, out)
			}
		}
	}
	return set, nil
}

func parseManifest(data []byte) (*manifest, error) {
	var m manifest
	if err := regular.UnmarshalJSON(data, &m); err != nil {
		return nil, hint.Wrap(fmt.Errorf("%v", err), "it is incomplete or was edited; copy it from the run again")
	}
	switch {
	case m.Version == nil || m.Source == nil:
		return nil, errors.New("not a manifest of this program: it has no version or no source")
	case *m.Version != ManifestVersion:
		return nil, hint.Wrap(fmt.Errorf("its schema has version %d; this program reads version %d", *m.Version, ManifestVersion),
			"compare it with the program that wrote it; its field tool has the name")
	}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			for _, o := range p.Outputs {
				if _, err := nix.ParseStorePath(string(o.Path)); err != nil {
					return nil, fmt.Errorf("output %s: %v", shown(outputName(p.Package, o.Name)), err)
				}
			}
		}
	}
	return &m, nil
}

// outputName is the package, with the output unless that is "out".
func outputName(pkg, output string) string {
	if output == "out" {
		return pkg
	}
	return pkg + "." + output
}

// find looks for an output in the cache beside the manifest. Both must have the same hash.
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

// compareSources returns the fields of the sources and engines of two manifests that differ.
func compareSources(a, b *manifest) []Field {
	var fields []Field
	add := func(name, x, y string) {
		if x != y {
			fields = append(fields, Field{name, x, y})
		}
	}
	s, t := a.Source, b.Source
	add("source.url", s.URL, t.URL)
	add("source.rev", s.Rev, t.Rev)
	add("source.subdir", s.Subdir, t.Subdir)
	add("source.narHash", s.NARHash, t.NARHash)
	add("source.lastModified", fmt.Sprint(s.LastModified), fmt.Sprint(t.LastModified))
	add("source.dirty", fmt.Sprint(s.Dirty), fmt.Sprint(t.Dirty))
	add("source.lockHash", s.LockHash, t.LockHash)
	add("source.overrides", overrides(s), overrides(t))
	for _, x := range a.Cells {
		for _, y := range b.Cells {
			if x.System != y.System || x.Engine == nil || y.Engine == nil {
				continue
			}
			add(x.System+" engine.kind", x.Engine.Kind, y.Engine.Kind)
			add(x.System+" engine.nix", x.Engine.Nix, y.Engine.Nix)
			add(x.System+" engine.image", x.Engine.Image, y.Engine.Image)
			add(x.System+" engine.emulator", x.Engine.Emulator, y.Engine.Emulator)
			add(x.System+" engine.cores", fmt.Sprint(x.Engine.Cores), fmt.Sprint(y.Engine.Cores))
			if x.Sandbox != nil && y.Sandbox != nil {
				add(x.System+" sandbox", fmt.Sprint(*x.Sandbox), fmt.Sprint(*y.Sandbox))
			}
		}
	}
	return fields
}

func overrides(s *flake.Snapshot) string {
	var all []string
	for _, input := range slices.Sorted(maps.Keys(s.Overrides)) {
		all = append(all, input+"="+s.Overrides[input])
	}
	return strings.Join(all, " ")
}

// isOfTree reports whether a field belongs to the source tree. If one of these differs, outputs can differ for that
// reason. A URL is not one of them: two URLs can have the same tree.
func (f Field) isOfTree() bool {
	switch f.Name {
	case "source.rev", "source.subdir", "source.narHash", "source.lastModified", "source.overrides":
		return true
	}
	return false
}
