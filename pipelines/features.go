package pipelines

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ownExpression has the settings for this program's own expressions. They read a file that this program has copied to the
// store, which restricted evaluation would not allow. The machine's settings hold for flakes.
var ownExpression = nix.Settings{
	"restrict-eval": "false", "pure-eval": "false",
	"substitute": "false", // no cache has it, and a cache that does not answer costs seconds
}

// floating has the experimental features with which output paths are not known before the build.
var floating = []string{"ca-derivations", "dynamic-derivations", "impure-derivations"}

var (
	disabledFeature = regexp.MustCompile(`experimental Nix feature '([a-z-]+)' is disabled`)
	// placeholder matches what a derivation has instead of an output path that is not known yet.
	placeholder = regexp.MustCompile(`^/[0-9a-z]{52}`)
)

// disabledFeatureError explains Nix's message about a feature that is off; nil for another message. Nix's own advice is
// about its own flags.
func disabledFeatureError(message string, e *EvaluationError) error {
	m := disabledFeature.FindStringSubmatch(message)
	if m == nil {
		return nil
	}
	if slices.Contains(floating, m[1]) {
		return contentAddressed(e)
	}
	e.Text = fmt.Sprintf("the flake needs the experimental feature %s of Nix, which is off", m[1])
	return hint.Wrap(e, "turn it on in the nix.conf of the Nix that evaluates, and of all who use the flake: extra-experimental-features = %s", m[1])
}

// contentAddressed refuses a derivation whose output paths are not known before the build, because a run finds
// everything by output path.
func contentAddressed(e *EvaluationError) error {
	e.Text = "content-addressed derivations are not supported"
	return hint.Wrap(e, "leave out __contentAddressed and __impure (in nixpkgs: config.contentAddressedByDefault = false), or build it with nix build")
}

// outputPath parses the path of an evaluated output.
func outputPath(text string, system matrix.System) (nix.StorePath, error) {
	if placeholder.MatchString(text) {
		return "", contentAddressed(&EvaluationError{System: system})
	}
	return nix.ParseStorePath(text)
}
