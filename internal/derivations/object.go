package derivations

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
)

// Limits on what is read of a file that anybody may have written.
const (
	maxDerivations = 1 << 17
	maxText        = 16 << 20  // of one derivation
	maxAllTexts    = 512 << 20 // of all that are held in memory
)

// readTexts reads a stream of nix-store --export to its end, and returns the texts of the derivations in it. That a text
// belongs to its path is for package drvdiff to check, which reads the texts of stores as well.
func readTexts(ctx context.Context, stream io.Reader) (drvdiff.Texts, error) {
	texts, size := drvdiff.Texts{}, 0
	nar := &boundedNAR{ctx: ctx}
	err := binarycache.ReadExport(stream, nar, func(o binarycache.Object) error {
		text, ok := nar.file()
		if !ok || !o.Path.IsDerivation() {
			return fmt.Errorf("%s is not a derivation", o.Path)
		}
		if size += len(text); size > maxAllTexts {
			return fmt.Errorf("more than %d MiB of derivations", maxAllTexts>>20)
		}
		if texts[o.Path] = bytes.Clone(text); len(texts) > maxDerivations {
			return fmt.Errorf("more than %d derivations", maxDerivations)
		}
		nar.data = nar.data[:0]
		return nil
	})
	return texts, err
}

// boundedNAR takes the bytes of a NAR, which may have at most maxText.
type boundedNAR struct {
	ctx  context.Context
	data []byte
}

func (n *boundedNAR) Write(p []byte) (int, error) {
	if err := n.ctx.Err(); err != nil {
		return 0, err
	}
	if len(n.data)+len(p) > maxText {
		return 0, fmt.Errorf("a derivation of more than %d MiB", maxText>>20)
	}
	n.data = append(n.data, p...)
	return len(p), nil
}

// file returns the contents of a plain file, which are valid until the next one. ReadExport has checked the form of the NAR.
func (n *boundedNAR) file() (text []byte, ok bool) {
	rest, ok := bytes.CutPrefix(n.data, fileHead)
	if !ok {
		return nil, false
	}
	return rest[8:][:binary.LittleEndian.Uint64(rest)], true
}

// fileHead is how the NAR of a plain file begins, in front of the length of its contents.
var fileHead = func() []byte {
	var head []byte
	for _, word := range []string{"nix-archive-1", "(", "type", "regular", "contents"} {
		head = binary.LittleEndian.AppendUint64(head, uint64(len(word)))
		head = append(head, word...)
		head = append(head, make([]byte, -len(word)&7)...)
	}
	return head
}()
