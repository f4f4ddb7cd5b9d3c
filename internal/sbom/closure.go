package sbom

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// FromCache returns the runtime closure of store objects, in the order of paths, by the narinfo files of a binary cache:
// so it can be had after a run, and without a Nix. What the cache does not have is a [binarycache.ErrNotFound].
func FromCache(ctx context.Context, dir *binarycache.Dir, roots ...nix.StorePath) ([]nix.PathInfo, error) {
	var closure []nix.PathInfo
	seen := map[nix.StorePath]bool{}
	for todo := slices.Clone(roots); len(todo) > 0; {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[path] {
			continue
		}
		seen[path] = true
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read closure in %s: %w", dir.Name(), context.Cause(ctx))
		}
		info, err := dir.Info(path)
		if err != nil {
			return nil, fmt.Errorf("read closure: %w", err)
		}
		closure = append(closure, nix.PathInfo{
			Path: path, NARHash: info.NARHash, NARSize: info.NARSize,
			References: info.References, Deriver: info.Deriver,
		})
		todo = append(todo, info.References...)
	}
	slices.SortFunc(closure, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return closure, nil
}
