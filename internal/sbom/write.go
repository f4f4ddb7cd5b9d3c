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

// Cache is a binary cache with the outputs and their closures.
type Cache interface {
	// Missing returns those of the paths that are not there.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
	// Closure returns the metadata of the closure of the paths, sorted by path.
	Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error)
}

// Write writes the document of each package of a run that is in the cache into out, and returns the file names in the
// manifest's order. It writes none for a package that failed, or that is only in another cache, and keeps the earlier one.
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
