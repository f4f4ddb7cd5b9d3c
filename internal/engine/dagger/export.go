package dagger

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// exportScript realises and exports in one exec: Dagger may prune a cache volume between two. The paths that
// nix-store --realise prints are not part of the stream.
const exportScript = `nix-store --realise "$@" >/dev/null && exec nix-store --export "$@"`

// Export streams the paths to w, through the tunnel and without a copy on either side's disk.
func (x *Executor) Export(ctx context.Context, w io.Writer, paths []nix.StorePath) error {
	args := []string{"-c", exportScript, "nix-store"}
	for _, p := range paths {
		args = append(args, string(p))
	}
	_, err := x.Run(ctx, engine.Command{Program: "bash", Args: args, Stdout: w})
	return err
}
