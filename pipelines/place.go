package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// placeFlake makes a snapshot readable for Nix, and returns the flake reference by which to evaluate it,
// with the settings that the reference needs.
//
// Attributes in the reference make Nix give the flake the commit that it came from:
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#path-like-syntax.
func placeFlake(ctx context.Context, x engine.Executor, s run.Snapshot) (ref string, settings nix.Settings, err error) {
	dir, err := x.AddPath(ctx, s.Dir)
	if err != nil {
		return "", nil, err
	}
	if s.Subdir != "" {
		return placeSubdir(ctx, x, s, dir)
	}
	q := url.Values{}
	q.Set("lastModified", strconv.FormatInt(s.LastModified, 10))
	q.Set("narHash", s.NARHash)
	if s.Rev != "" {
		q.Set("rev", s.Rev)
	}
	return "path:" + (&url.URL{Path: dir}).EscapedPath() + "?" + q.Encode(), nil, nil
}

// placeReference makes what a flake reference of the user's names readable for Nix, where that is on this machine.
func placeReference(ctx context.Context, x engine.Executor, ref string) (string, error) {
	dir, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(ref, "path:"), "git+file://"), "?")
	if info, err := os.Stat(dir); !filepath.IsAbs(dir) || err != nil || !info.IsDir() {
		return ref, nil
	}
	placed, err := x.AddPath(ctx, dir)
	if err != nil || placed == dir {
		return ref, err
	}
	return "path:" + placed, nil
}

// placeSubdir is for a flake that is not at the root of its tree. A path reference cannot say so
// in Nix up to 2.8 ("unsupported parameter 'dir'"), but an entry of a registry can, so a registry of one entry is placed.
// Once Nix 2.8 is gone from Debian's supported releases, "?dir=" will do.
func placeSubdir(ctx context.Context, x engine.Executor, s run.Snapshot, dir string) (string, nix.Settings, error) {
	const name = "snapshot"
	to := map[string]any{
		"type": "path", "path": dir, "dir": s.Subdir, "lastModified": s.LastModified, "narHash": s.NARHash,
	}
	if s.Rev != "" {
		to["rev"] = s.Rev
	}
	data, err := json.Marshal(map[string]any{
		"version": 2,
		"flakes":  []any{map[string]any{"from": map[string]any{"type": "indirect", "id": name}, "to": to, "exact": true}},
	})
	if err != nil {
		return "", nil, err
	}
	// Beside the tree, and removed with it. Each cell has its own.
	registry, err := os.MkdirTemp(filepath.Dir(s.Dir), "registry-")
	if err != nil {
		return "", nil, fmt.Errorf("write registry: %v", err)
	}
	if err := regular.AnyFile(filepath.Join(registry, "registry.json")).Write(data); err != nil {
		return "", nil, fmt.Errorf("write registry: %v", err)
	}
	placed, err := x.AddPath(ctx, registry)
	if err != nil {
		return "", nil, err
	}
	return "flake:" + name, nix.Settings{"flake-registry": filepath.Join(placed, "registry.json"), "use-registries": "true"}, nil
}
