package pipelines

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// DerivationKeeper keeps the derivations of a cell, so that another machine can compare its own with them.
type DerivationKeeper interface {
	// Keep takes them in the format of nix-store --export, which export writes.
	Keep(ctx context.Context, system matrix.System, export func(context.Context, io.Writer) error) error
}

// keepTimeout is how long it may take to keep derivations when the time of a cell is over.
const keepTimeout = time.Minute

// keepDerivations keeps the derivations of the packages and of all that they are built from, whether they failed or not.
// A failure to keep them is a warning: only a later comparison needs them.
func (r *Release) keepDerivations(ctx context.Context, x engine.Executor, cell matrix.Cell, packages []run.PackageResult) {
	if r.Derivations == nil {
		return
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // a run that took too long is worth a look
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
		defer stop()
	}
	if ctx.Err() != nil {
		return
	}
	var roots []nix.StorePath
	for _, p := range packages {
		if p.Derivation != "" && p.Verdict != run.Served {
			roots = append(roots, p.Derivation)
		}
	}
	if len(roots) == 0 {
		return
	}
	err := r.Derivations.Keep(ctx, cell.System, func(ctx context.Context, w io.Writer) error {
		_, err := x.Run(ctx, engine.Command{
			Program: "sh", Args: append([]string{"-c", exportScript, "derivations"}, words(roots)...), Settings: r.Settings, Stdout: w,
		})
		return err
	})
	if err != nil && ctx.Err() == nil {
		r.Warn(cell.System, "keep derivations: %v", err)
	}
}

// exportScript exports derivations and all derivations that they need, without sources and outputs; see
// nix-store --query --requisites in the Nix manual.
const exportScript = `paths=$(nix-store --query --requisites "$@") || exit
exec nix-store --export $(printf '%s\n' "$paths" | grep '[.]drv$')`
