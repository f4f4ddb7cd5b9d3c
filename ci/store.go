package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// store is this machine's store. Nix lists what is in it, and all users can read its files.
// It implements [cachix.Source].
type store struct {
	nix     *host.Executor
	version nix.Version
	root    string // of the file system that the store is in; empty for this machine's own
}

func openStore(ctx context.Context, sys process) (*store, error) {
	x, err := host.Open(ctx, host.Options{System: matrix.X8664Linux, Env: sys.environ, Settings: nix.Settings{"extra-experimental-features": "nix-command", "plugin-files": ""}})
	if err != nil {
		return nil, err
	}
	e, err := x.Describe(ctx)
	if err != nil {
		return nil, err
	}
	return &store{nix: x, version: e.Nix, root: rootOf(environment(sys.environ).get("NIX_REMOTE"))}, nil
}

// rootOf returns the directory that a store's URL puts before /nix, such as of "local?root=/mnt"; see the Nix manual on local stores.
func rootOf(remote string) string {
	_, query, _ := strings.Cut(remote, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		if root, ok := strings.CutPrefix(parameter, "root="); ok {
			return root
		}
	}
	return ""
}

// closure returns what Nix knows of the paths and of all that they refer to.
func (s *store) closure(ctx context.Context, paths []nix.StorePath) ([]nix.PathInfo, error) {
	args := append(nix.PathInfoArgs(s.version), "--recursive")
	for _, p := range paths {
		args = append(args, string(p))
	}
	out, err := s.nix.Run(ctx, engine.Command{Program: "nix", Args: args})
	if err != nil {
		return nil, fmt.Errorf("look up closure: %w", err)
	}
	return nix.ParsePathInfo(out)
}

// Dump writes the NAR of a store object, read from its files.
func (s *store) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	return nar.DumpTree(ctx, w, filepath.Join(s.root, string(path)))
}
