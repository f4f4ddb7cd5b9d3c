package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ManifestVersion is the version of the manifest's schema that can be compared.
const ManifestVersion = 1

// maxManifest is the most bytes that are read as one.
const maxManifest = 64 << 20

// manifest is what a comparison needs of docs/manifest.md. The package that writes manifests builds upon this one,
// so it is the page that holds the two together, and a test of package ci.
type manifest struct {
	Version *int            `json:"version"`
	Source  *flake.Snapshot `json:"source"`
	Cells   []manifestCell  `json:"cells"`
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

// readManifest reads a manifest with its outputs. Their contents are in the binary cache beside it, if anywhere,
// or in the store.
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
		return nil, hint.Wrap(fmt.Errorf("%v", err), "it was cut off or edited; take it from the run again")
	}
	switch {
	case m.Version == nil || m.Source == nil:
		return nil, errors.New("no manifest of this program: it has no version or no source")
	case *m.Version != ManifestVersion:
		return nil, hint.Wrap(fmt.Errorf("version %d of the schema, where %d can be read", *m.Version, ManifestVersion),
			"compare it by the program that has written it; its tool says which")
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

// outputName is a package, with its output as Nix writes it where that is not the first.
func outputName(pkg, output string) string {
	if output == "out" {
		return pkg
	}
	return pkg + "." + output
}

// find looks for an output in the cache beside the manifest, which has to agree with it.
func (o *setOutput) find(cache *binarycache.Dir) error {
	if cache != nil {
		info, err := cache.Info(o.path)
		switch {
		case err == nil && !o.hash.IsZero() && !info.NARHash.Equal(o.hash):
			return hint.Wrap(fmt.Errorf("it says that the NAR hash of %s is %s, but the cache beside it says %s", o.path, o.hash.SRI(), info.NARHash.SRI()),
				"one of the two was edited, or is of another run; they belong together")
		case err == nil:
			o.hash = info.NARHash
			return o.inCache(cache, info)
		case !errors.Is(err, binarycache.ErrNotFound):
			return err
		}
	}
	return nil
}

// contents returns an output's tree, or nil where it is not at hand. The store counts only where it has what the manifest
// says: it may have been given the same path by another build, and without a hash nothing would tell.
func (o *setOutput) contents(ctx context.Context) (*Tree, error) {
	if o.tree != nil || o.hash.IsZero() {
		return o.tree, nil
	}
	if _, err := os.Lstat(string(o.path)); err != nil {
		return nil, nil
	}
	hash, _, err := binarycache.HashTree(ctx, string(o.path))
	if err == nil && hash.Equal(o.hash) {
		tree := OnDisk(string(o.path))
		o.tree = &tree
	}
	return o.tree, err
}

// inCache takes the contents from a cache. Two equal hashes say nothing of a NAR that is not there any more.
func (o *setOutput) inCache(cache *binarycache.Dir, info *nix.NARInfo) error {
	f, err := cache.OpenNAR(info)
	if err != nil {
		return hint.Wrap(err, "the cache has lost it: remove %s, and run the command that fills the cache again",
			filepath.Join(cache.Name(), o.path.Digest()+".narinfo"))
	}
	tree := InCache(cache, o.path)
	o.tree = &tree
	return f.Close()
}

// compareSources returns in what the sources and engines of two manifests differ.
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

// tellsSource says that a field is of the tree itself: where one of these differs, outputs may differ for that reason.
// A URL alone only says whence the same tree was taken.
func (f Field) tellsSource() bool {
	switch f.Name {
	case "source.rev", "source.subdir", "source.narHash", "source.lastModified", "source.overrides":
		return true
	}
	return false
}
