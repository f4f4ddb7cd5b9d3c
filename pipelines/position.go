package pipelines

import (
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// definition returns where the flake defines a package, from Nix's position: "/nix/store/…-source/nix/package.nix:12".
// It is nil if an input defines the package.
func definition(s run.Snapshot, position string) *run.Line {
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		return nil
	}
	_, own, found := strings.Cut(position, string(source)+"/") // a store at another root has that root before it
	if !found {
		return nil
	}
	return positionOf(s, own)
}

// positionOf returns the line of a position of [nix.EvalError] in the flake's own files: "nix/package.nix:12:3".
func positionOf(s run.Snapshot, position string) *run.Line {
	file, rest, _ := strings.Cut(position, ":")
	line, _, _ := strings.Cut(rest, ":")
	return run.LineIn(s, file, line)
}
