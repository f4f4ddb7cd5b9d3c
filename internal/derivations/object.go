package derivations

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/drvdiff"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Limits on what is believed of a file that anybody may have written.
const (
	maxObjects  = 1 << 17
	maxText     = 16 << 20  // of one derivation
	maxAllTexts = 512 << 20 // of all that are held in memory
)

// ErrForged says that a store object is not what its path was made of.
var ErrForged = errors.New("its contents are not those that its path was made of")

// Check reads a stream of nix-store --export to its end, and returns the paths in it. Each object has to be a derivation
// or a source with the contents that its path was made of; else the error wraps [ErrForged].
func Check(ctx context.Context, stream io.Reader) (paths []nix.StorePath, err error) {
	err = scan(ctx, stream, func(path nix.StorePath, _ []byte) error {
		paths = append(paths, path)
		return nil
	})
	return paths, err
}

// ReadTexts does as Check, and returns the texts of the derivations.
func ReadTexts(ctx context.Context, stream io.Reader) (drvdiff.Texts, error) {
	texts, size := drvdiff.Texts{}, 0
	err := scan(ctx, stream, func(path nix.StorePath, text []byte) error {
		if !path.IsDerivation() {
			return nil
		}
		if size += len(text); size > maxAllTexts {
			return fmt.Errorf("more than %d MiB of derivations", maxAllTexts>>20)
		}
		texts[path] = bytes.Clone(text)
		return nil
	})
	return texts, err
}

// scan tells visit of each object; text is that of a derivation, valid until it returns.
func scan(ctx context.Context, stream io.Reader, visit func(path nix.StorePath, text []byte) error) error {
	n := 0
	s := &sniffer{ctx: ctx}
	s.reset()
	return binarycache.ReadExport(stream, s, func(o binarycache.Object) error {
		if n++; n > maxObjects {
			return fmt.Errorf("more than %d store objects", maxObjects)
		}
		if err := s.prove(o); err != nil {
			return fmt.Errorf("%s: %w", o.Path, err)
		}
		err := visit(o.Path, s.text)
		s.reset()
		return err
	})
}

// sniffer takes the bytes of a NAR, and finds out what its path could be made of.
type sniffer struct {
	ctx context.Context

	nar  hash.Hash
	head []byte // until it is known whether the NAR is of a plain file
	// Of a plain file:
	isFile bool
	left   uint64
	file   hash.Hash
	text   []byte // the first bytes of its contents
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

func (s *sniffer) reset() {
	s.nar, s.file = sha256.New(), sha256.New()
	s.head, s.text = s.head[:0], s.text[:0]
	s.isFile, s.left = false, 0
}

func (s *sniffer) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n := len(p)
	s.nar.Write(p)
	if want := len(fileHead) + 8; len(s.head) < want {
		taken := min(want-len(s.head), len(p))
		s.head = append(s.head, p[:taken]...)
		p = p[taken:]
		if len(s.head) == want && bytes.Equal(s.head[:len(fileHead)], fileHead) {
			s.isFile, s.left = true, binary.LittleEndian.Uint64(s.head[len(fileHead):])
		}
	}
	if s.isFile {
		p = p[:min(uint64(len(p)), s.left)]
		s.left -= uint64(len(p))
		s.file.Write(p)
		s.text = append(s.text, p[:min(len(p), max(0, maxText+1-len(s.text)))]...)
	}
	return n, nil
}

// prove compares an object's path with those that its contents may have.
func (s *sniffer) prove(o binarycache.Object) error {
	name := o.Path.Name()
	var nar, file [sha256.Size]byte
	s.nar.Sum(nar[:0])
	s.file.Sum(file[:0])
	if o.Path.IsDerivation() && s.isFile && len(s.text) > maxText {
		return fmt.Errorf("a derivation of more than %d MiB", maxText>>20)
	}
	switch {
	case s.isFile && o.Path == nix.TextPath(name, file, o.References),
		o.Path == nix.TreePath(name, nar, o.References) && !strings.HasSuffix(name, ".drv"),
		s.isFile && len(o.References) == 0 && o.Path == nix.FilePath(name, file) && !strings.HasSuffix(name, ".drv"):
		return nil
	}
	return ErrForged
}
