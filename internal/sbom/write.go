package sbom

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// MediaType is that of the documents.
const MediaType = "application/vnd.cyclonedx+json"

// FileName returns the name of a package's document in the directory of a run's results, with slashes.
func FileName(p matrix.Package, s matrix.System) string {
	return path.Join("sbom", fmt.Sprintf("%s-%s.cdx.json", p.FileName(), s))
}

// Cache knows what was built, and what that refers to.
type Cache interface {
	// Missing returns those of the paths that are not there.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
	// Closure returns what is known of the paths and of all that they refer to, in the order of paths.
	Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error)
}

// Write writes the document of each package of a run that the cache has, into out, and returns the names of the files
// in the manifest's order. A package that failed, or that another cache serves, gets none, and an earlier one stays.
// It needs nothing but the manifest and the cache, so it can be called at any time after the run.
func Write(ctx context.Context, out *regular.Dir, m *run.Manifest, cache Cache) ([]string, error) {
	finished, err := time.Parse(time.RFC3339, m.Finished)
	if err != nil {
		return nil, fmt.Errorf("write bill of materials: %v", err)
	}
	var names []string
	for _, cell := range m.Cells {
		for _, result := range cell.Packages {
			p := Package{Name: result.Package, System: cell.System, Tool: m.Tool, Time: finished}
			for _, o := range result.Outputs {
				p.Outputs = append(p.Outputs, o.Path)
			}
			if result.Verdict == run.Failed || len(p.Outputs) == 0 {
				continue
			}
			if missing, err := cache.Missing(ctx, p.Outputs); err != nil {
				return names, fmt.Errorf("write bill of materials: %w", err)
			} else if len(missing) > 0 {
				continue
			}
			name := FileName(p.Name, p.System)
			if err := write(ctx, out, name, p, cache); err != nil {
				return names, fmt.Errorf("write bill of materials %s: %w", name, err)
			}
			names = append(names, name)
		}
	}
	return names, nil
}

func write(ctx context.Context, out *regular.Dir, name string, p Package, cache Cache) error {
	closure, err := cache.Closure(ctx, p.Outputs)
	if err != nil {
		return err
	}
	bom, err := Of(p, closure)
	if err != nil {
		return err
	}
	data, err := Encode(bom)
	if err != nil {
		return err
	}
	return out.Write(filepath.FromSlash(name), data)
}
