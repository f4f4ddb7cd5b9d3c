package pipelines

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ownExpression are the settings for building an expression of this program's own. It reads a file that was placed for
// it, which a machine whose owner has restricted evaluation forbids. A flake is evaluated as the owner has it.
var ownExpression = nix.Settings{
	"restrict-eval": "false", "pure-eval": "false",
	"substitute": "false", // no cache has it, and one that does not answer costs seconds
}

// floating are the experimental features with which the output paths of a derivation are known only after its build.
var floating = []string{"ca-derivations", "dynamic-derivations", "impure-derivations"}

var (
	disabledFeature = regexp.MustCompile(`experimental Nix feature '([a-z-]+)' is disabled`)
	// placeholder is what a derivation has in place of an output path that is not known yet.
	placeholder = regexp.MustCompile(`^/[0-9a-z]{52}`)
)

// disabledFeatureError explains what Nix says of a feature that is off; nil where it says nothing of one.
// Its own advice is a flag of its own programs.
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

// contentAddressed refuses a derivation whose output paths are not known before it is built: what is served, built and
// published is found by output path.
func contentAddressed(e *EvaluationError) error {
	e.Text = "content-addressed derivations are not supported"
	return hint.Wrap(e, "leave out __contentAddressed and __impure (in nixpkgs: config.contentAddressedByDefault = false), or build it with nix build")
}

// outputPath reads the path of an evaluated output.
func outputPath(text string, system matrix.System) (nix.StorePath, error) {
	if placeholder.MatchString(text) {
		return "", contentAddressed(&EvaluationError{System: system})
	}
	return nix.ParseStorePath(text)
}
