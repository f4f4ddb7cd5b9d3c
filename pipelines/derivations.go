package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// DerivationKeeper keeps the derivations of a cell, so that another machine can compare its own with them, or build them.
type DerivationKeeper interface {
	// Keep takes them in the format of nix-store --export. Whole says that their sources are among them,
	// so that they can be imported and built elsewhere.
	Keep(system matrix.System, whole bool, export []byte) error
}

// mostDerivations bounds the length of a command line; nixpkgs' largest packages have half as many.
const mostDerivations = 10_000

// keepDerivations keeps what the packages are built from: of those that failed also the sources.
// What cannot be kept is said: a later comparison will miss it, and this run does not.
func (r *Release) keepDerivations(ctx context.Context, x Executor, cell matrix.Cell, packages []PackageResult) {
	if r.Derivations == nil || ctx.Err() != nil {
		return
	}
	var all, failed []nix.StorePath
	for _, p := range packages {
		if p.Derivation == "" || p.Verdict == Served {
			continue
		}
		all = append(all, p.Derivation)
		if p.Verdict == Failed {
			failed = append(failed, p.Derivation)
		}
	}
	err := r.keepRequisites(ctx, x, cell, all, false)
	if err == nil {
		err = r.keepRequisites(ctx, x, cell, failed, true)
	}
	if err != nil && ctx.Err() == nil {
		r.event(Notice{System: cell.System, Level: Warning, Text: fmt.Sprintf("keep derivations: %v", err)})
	}
}

func (r *Release) keepRequisites(ctx context.Context, x Executor, cell matrix.Cell, roots []nix.StorePath, whole bool) error {
	if len(roots) == 0 {
		return nil
	}
	// Of a derivation, these are the derivations and sources below it, and no outputs; see nix-store --query in the Nix manual.
	requisites, err := r.queryPaths(ctx, x, append([]string{"--query", "--requisites"}, words(roots)...))
	if err != nil {
		return err
	}
	var kept []nix.StorePath
	for _, p := range requisites {
		if whole || strings.HasSuffix(string(p), ".drv") {
			kept = append(kept, p)
		}
	}
	if len(kept) > mostDerivations {
		return fmt.Errorf("there are %d of them, more than %d", len(kept), mostDerivations)
	}
	export, err := x.Run(ctx, Command{Program: "nix-store", Args: append([]string{"--export"}, words(kept)...), Settings: r.Settings})
	if err != nil {
		return err
	}
	return r.Derivations.Keep(cell.System, whole, export)
}
