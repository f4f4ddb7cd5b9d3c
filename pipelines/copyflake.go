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

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// copyFlakeToStore makes the snapshot readable for Nix. It returns the flake reference to evaluate, and the settings that
// the reference needs.
//
// With attributes in the reference, Nix gives the flake its commit:
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#path-like-syntax.
func (c *cell) copyFlakeToStore(ctx context.Context) (ref string, settings nix.Settings, err error) {
	s := c.snapshot
	dir, err := c.exec.AddPath(ctx, s.Dir)
	if err == nil && s.Subdir != "" {
		ref, settings, err = c.copyRegistry(ctx, dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("place snapshot: %w", err)
	}
	if s.Subdir != "" {
		return ref, settings, nil
	}
	q := url.Values{}
	q.Set("lastModified", strconv.FormatInt(s.LastModified, 10))
	q.Set("narHash", s.NARHash)
	if s.Rev != "" {
		q.Set("rev", s.Rev)
	}
	return "path:" + (&url.URL{Path: dir}).EscapedPath() + "?" + q.Encode(), nil, nil
}

// copyReference makes a flake of this machine readable for Nix. References of other flakes stay as they are.
func (c *cell) copyReference(ctx context.Context, ref string) (string, error) {
	dir, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(ref, "path:"), "git+file://"), "?")
	if info, err := os.Stat(dir); !filepath.IsAbs(dir) || err != nil || !info.IsDir() {
		return ref, nil
	}
	copied, err := c.exec.AddPath(ctx, dir)
	if err != nil || copied == dir {
		return ref, err
	}
	return "path:" + copied, nil
}

// copyRegistry is for a flake that is not at the root of its tree. In Nix up to 2.8, a path reference cannot have a
// directory ("unsupported parameter 'dir'"), but an entry of a registry can. When no supported release of Debian has Nix
// 2.8, "?dir=" will do.
func (c *cell) copyRegistry(ctx context.Context, dir string) (string, nix.Settings, error) {
	const name = "snapshot"
	s := c.snapshot
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
	// It is beside the tree, and is removed with it. Each cell has its own.
	registry, err := os.MkdirTemp(filepath.Dir(s.Dir), "registry-")
	if err == nil {
		err = regular.AnyFile(filepath.Join(registry, "registry.json")).Write(data)
	}
	if err != nil {
		return "", nil, fmt.Errorf("write registry: %v", err)
	}
	copied, err := c.exec.AddPath(ctx, registry)
	if err != nil {
		return "", nil, err
	}
	return "flake:" + name, nix.Settings{"flake-registry": filepath.Join(copied, "registry.json"), "use-registries": "true"}, nil
}
