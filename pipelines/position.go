package pipelines

import (
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// definition reads where the flake defines a package, as Nix has it: "/nix/store/…-source/nix/package.nix:12".
// It is nil for what an input defines.
func definition(s run.Snapshot, position string) *run.Line {
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		return nil
	}
	_, own, found := strings.Cut(position, string(source)+"/") // a store at another root has that before it
	if !found {
		return nil
	}
	return positionOf(s, own)
}

// positionOf is where an evaluation failed: "nix/package.nix:12:3", as [nix.EvalError] has it of the flake's own files.
func positionOf(s run.Snapshot, position string) *run.Line {
	file, rest, _ := strings.Cut(position, ":")
	line, _, _ := strings.Cut(rest, ":")
	return run.LineIn(s, file, line)
}
