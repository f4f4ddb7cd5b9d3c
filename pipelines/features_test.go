package pipelines

import (
	"errors"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestDisabledFeatureIsExplained(t *testing.T) {
	for message, want := range map[string][2]string{
		// From Nix 2.8 and 2.34.
		"experimental Nix feature 'ca-derivations' is disabled; use '--extra-experimental-features ca-derivations' to override": {
			"content-addressed derivations are not supported", "__contentAddressed",
		},
		"experimental Nix feature 'pipe-operators' is disabled; add '--extra-experimental-features pipe-operators' to enable it": {
			"the flake needs the experimental feature pipe-operators of Nix, which is off", "extra-experimental-features = pipe-operators",
		},
	} {
		err := disabledFeatureError(message, &EvaluationError{System: matrix.X8664Linux, Text: message})
		var evaluation *EvaluationError
		if !errors.As(err, &evaluation) || evaluation.Text != want[0] {
			t.Errorf("error for %q: %v, want %q", message, err, want[0])
		}
		if hints := hint.Of(err); len(hints) != 1 || !strings.Contains(hints[0], want[1]) || strings.Contains(hints[0], "--extra") {
			t.Errorf("hints for %q: %q, want one with %q", message, hints, want[1])
		}
	}
	if err := disabledFeatureError("attribute 'x' missing", &EvaluationError{}); err != nil {
		t.Errorf("error for another message: %v", err)
	}
}

func TestUnknownOutputPathIsRefused(t *testing.T) {
	_, err := outputPath("/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9", matrix.X8664Linux)
	var evaluation *EvaluationError
	if !errors.As(err, &evaluation) || len(hint.Of(err)) != 1 ||
		err.Error() != "evaluate packages.x86_64-linux: content-addressed derivations are not supported" {
		t.Errorf("error %v, want one about content-addressed derivations, with a hint", err)
	}
	const path = "/nix/store/00000000000000000000000000000000-p"
	if got, err := outputPath(path, matrix.X8664Linux); err != nil || string(got) != path {
		t.Errorf("outputPath(%s) = %s, %v", path, got, err)
	}
	if _, err := outputPath("", matrix.X8664Linux); err == nil {
		t.Error("an empty path is taken")
	}
}
