package sbom

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// MediaType is that of the documents.
const MediaType = "application/vnd.cyclonedx+json"

// FileName returns the name of a package's document in the directory of a run's results, with slashes.
func FileName(p matrix.Package, s matrix.System) string {
	return path.Join("sbom", fmt.Sprintf("%s-%s.cdx.json", p.FileName(), s))
}

// Write writes the document of each package of a run that the cache has, into out, and returns the names of the files
// in the manifest's order. A package that failed, or that another cache serves, gets none, and an earlier one stays.
// It needs nothing but the manifest and the cache, so it can be called at any time after the run.
func Write(ctx context.Context, out *regular.Dir, m *pipelines.Manifest, dir *binarycache.Dir) ([]string, error) {
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
			if result.Verdict == pipelines.Failed || !has(dir, p.Outputs) {
				continue
			}
			name := FileName(p.Name, p.System)
			if err := write(ctx, out, name, p, dir); err != nil {
				return names, fmt.Errorf("write bill of materials %s: %w", name, err)
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// has reports whether the cache has all outputs. What cannot be read is there, and its error is told by who reads it.
func has(dir *binarycache.Dir, outputs []nix.StorePath) bool {
	for _, path := range outputs {
		if _, err := dir.Info(path); errors.Is(err, binarycache.ErrNotFound) {
			return false
		}
	}
	return len(outputs) > 0
}

func write(ctx context.Context, out *regular.Dir, name string, p Package, dir *binarycache.Dir) error {
	closure, err := FromCache(ctx, dir, p.Outputs...)
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
