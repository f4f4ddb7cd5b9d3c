package derivations

import (
	"context"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Limits for a file that anybody may have written.
const (
	maxDerivations = 1 << 17
	maxText        = 16 << 20  // of one derivation
	maxAllTexts    = 512 << 20 // of all in memory
)

// readTexts reads a stream of nix-store --export to its end, and returns the texts of the derivations in it. Package
// drvdiff checks that a text belongs to its path.
func readTexts(ctx context.Context, stream io.Reader) (drvdiff.Texts, error) {
	texts, size := drvdiff.Texts{}, 0
	var text []byte // of the current object; nil where it is not a plain file
	read := func(r *nar.Reader) error {
		text = nil
		root, err := r.Next()
		if err != nil || root.Type != nar.Regular || root.Executable {
			return err
		}
		if root.Size > maxText {
			return fmt.Errorf("a derivation of more than %d MiB", maxText>>20)
		}
		text, err = io.ReadAll(r)
		return err
	}
	err := nar.ReadExport(regular.Until(ctx, stream), read, func(o nar.Object) error {
		if text == nil || !o.Path.IsDerivation() {
			return fmt.Errorf("%s is not a derivation", o.Path)
		}
		if size += len(text); size > maxAllTexts {
			return fmt.Errorf("more than %d MiB of derivations", maxAllTexts>>20)
		}
		if len(texts) == maxDerivations {
			return fmt.Errorf("more than %d derivations", maxDerivations)
		}
		texts[o.Path] = text
		return nil
	})
	return texts, err
}
