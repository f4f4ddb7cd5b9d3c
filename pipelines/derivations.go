package pipelines

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// keepTimeout limits how long derivations are kept after the time of a cell is over.
const keepTimeout = time.Minute

// keepDerivations keeps the derivations of all packages and of their inputs, for a comparison with another machine. Its
// errors are warnings.
func (r *Release) keepDerivations(ctx context.Context, c *cell) {
	if r.Derivations == nil {
		return
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the derivations help to explain a timeout
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
		defer stop()
	}
	var roots []nix.StorePath
	for _, p := range c.result.Packages {
		if p.Derivation != "" && p.Verdict != run.Served {
			roots = append(roots, p.Derivation)
		}
	}
	if len(roots) == 0 || ctx.Err() != nil {
		return
	}
	err := derivations.Write(derivations.File(r.Derivations, string(c.System)), func(w io.Writer) error {
		_, err := c.exec.Run(ctx, engine.Command{
			Program: "sh", Args: append([]string{"-c", exportScript, "derivations"}, words(roots)...), Settings: c.Settings, Stdout: w,
		})
		return err
	})
	if err != nil && ctx.Err() == nil {
		r.Warn(c.System, "keep derivations: %v", err)
	}
}

// exportScript exports derivations with all derivations that they need, without sources and outputs. See nix-store --query
// --requisites in the Nix manual.
const exportScript = `paths=$(nix-store --query --requisites "$@") || exit
exec nix-store --export $(printf '%s\n' "$paths" | grep '[.]drv$')`
