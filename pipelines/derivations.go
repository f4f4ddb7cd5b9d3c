package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// DerivationKeeper keeps the derivations of a cell, so that another machine can compare its own with them, or build them.
type DerivationKeeper interface {
	// Keep takes them in the format of nix-store --export, which export writes. Whole says that their sources are among
	// them, so that they can be imported and built elsewhere.
	Keep(ctx context.Context, system matrix.System, whole bool, export func(context.Context, io.Writer) error) error
}

// keepTimeout is how long it may take to keep derivations when the time of a cell is over.
const keepTimeout = time.Minute

// keepDerivations keeps what the packages are built from: of those that failed or came out differently also the sources.
// What cannot be kept is said: a later comparison will miss it, and this run does not.
func (r *Release) keepDerivations(ctx context.Context, x Executor, cell matrix.Cell, packages []PackageResult) {
	if r.Derivations == nil {
		return
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // what took too long is worth a look
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
		defer stop()
	}
	if ctx.Err() != nil {
		return
	}
	var all, wrong []nix.StorePath
	for _, p := range packages {
		if p.Derivation == "" || p.Verdict == Served {
			continue
		}
		all = append(all, p.Derivation)
		if p.Verdict == Failed || p.Difference != nil {
			wrong = append(wrong, p.Derivation)
		}
	}
	err := r.keepRequisites(ctx, x, cell, all, false)
	if err == nil {
		err = r.keepRequisites(ctx, x, cell, wrong, true)
	}
	if err != nil && ctx.Err() == nil {
		r.event(Notice{System: cell.System, Level: Warning, Text: fmt.Sprintf("keep derivations: %v", err)})
	}
}

// exportScript exports what derivations are made of: other derivations and sources below them, and no outputs; see
// nix-store --query --requisites in the Nix manual. What it is called by is "derivations" or "whole".
const exportScript = `paths=$(nix-store --query --requisites "$@") || exit
[ "$0" = whole ] || paths=$(printf '%s\n' "$paths" | grep '[.]drv$')
exec nix-store --export $paths`

func (r *Release) keepRequisites(ctx context.Context, x Executor, cell matrix.Cell, roots []nix.StorePath, whole bool) error {
	if len(roots) == 0 {
		return nil
	}
	name := "derivations"
	if whole {
		name = "whole"
	}
	return r.Derivations.Keep(ctx, cell.System, whole, func(ctx context.Context, w io.Writer) error {
		_, err := x.Run(ctx, Command{
			Program: "sh", Args: append([]string{"-c", exportScript, name}, words(roots)...), Settings: r.Settings, Stdout: w,
		})
		return err
	})
}
