package binarycache

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Closure returns what the cache knows of the paths and of all that they refer to, in the order of paths.
// A reference that is not here is an error that wraps [ErrNotFound].
func (d *Dir) Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	seen := make(map[nix.StorePath]bool)
	var infos []nix.PathInfo
	for todo := roots; len(todo) > 0; {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[path] {
			continue
		}
		seen[path] = true
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read closure in %s: %w", d.path, err)
		}
		info, err := d.Info(path)
		if err != nil {
			return nil, err
		}
		infos = append(infos, pathInfo(info))
		todo = append(todo[:len(todo):len(todo)], info.References...)
	}
	return sorted(infos), nil
}

// All returns what the cache knows of everything that is in it, in the order of paths.
func (d *Dir) All(ctx context.Context) ([]nix.PathInfo, error) {
	entries, err := d.dir.List()
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	var infos []nix.PathInfo
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) != gonix.NARInfoExtension {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list %s: %w", d.path, err)
		}
		info, err := d.readInfo(name)
		if err != nil {
			return nil, fmt.Errorf("read %s in %s: %w", name, d.path, err)
		}
		infos = append(infos, pathInfo(info))
	}
	return sorted(infos), nil
}

func sorted(infos []nix.PathInfo) []nix.PathInfo {
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return infos
}

func pathInfo(info *nix.NARInfo) nix.PathInfo {
	p := nix.PathInfo{
		Path: info.StorePath, NARHash: info.NARHash, NARSize: info.NARSize,
		References: info.References, Deriver: info.Deriver,
	}
	for _, s := range info.Sig {
		p.Signatures = append(p.Signatures, s.String())
	}
	return p
}
