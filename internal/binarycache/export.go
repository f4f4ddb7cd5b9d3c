package binarycache

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Object is what an export stream says about a store object, beside its contents.
type Object struct {
	Path nix.StorePath
	// References are in order and each there once; the object itself is among them where it refers to itself.
	References []nix.StorePath
	// Deriver is the derivation that built the object; empty where Nix does not know it.
	Deriver nix.StorePath
}

// exportMagic separates an archive from its metadata: "NIXE" in the stream.
const exportMagic = 0x4558494e

// ReadExport reads a stream of nix-store --export to its end.
// The bytes of each NAR go to nar as they come; what they were is known only then, and visit is told.
//
// The stream is, as Store::exportPaths of Nix writes it, for each store object the number 1, the NAR,
// a magic number, the store path, the references, the deriver or "", and the number 0 where a signature was long ago;
// after the last object the number 0.
//
// The memory used does not depend on the stream: it reads archives of any size and believes no length that it is told.
// A stream that ends too early is an [io.ErrUnexpectedEOF]; errors of r, nar and visit are wrapped.
func ReadExport(r io.Reader, nar io.Writer, visit func(Object) error) error {
	w := newWireReader(r)
	for n := 1; ; n++ {
		more, err := w.uint64()
		if err != nil {
			return fmt.Errorf("read export stream: store object %d: %w", n, err)
		}
		switch more {
		case 0:
			return w.end()
		case 1:
		default:
			return fmt.Errorf("read export stream: store object %d: %w", n, w.invalid("%#x where 0 or 1 is due", more))
		}
		object, err := w.object(nar)
		if err != nil {
			return fmt.Errorf("read export stream: store object %d: %w", n, err)
		}
		if err := visit(object); err != nil {
			return fmt.Errorf("store object %d: %w", n, err)
		}
	}
}

// end checks that the stream ends here. What followed would have been exported and then lost.
func (w *wireReader) end() error {
	switch _, err := w.in.ReadByte(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("read export stream: %w", w.readError(err))
	default:
		return fmt.Errorf("read export stream: %w", w.invalid("more data after the end"))
	}
}

func (w *wireReader) object(nar io.Writer) (Object, error) {
	w.out = nar
	err := w.nar()
	w.out = io.Discard
	if err != nil {
		return Object{}, fmt.Errorf("nar: %w", err)
	}
	magic, err := w.uint64()
	if err != nil {
		return Object{}, err
	}
	if magic != exportMagic {
		return Object{}, w.invalid("the magic number %#x where %#x is due", magic, exportMagic)
	}

	var o Object
	if o.Path, err = w.storePath(); err != nil {
		return Object{}, fmt.Errorf("store path: %w", err)
	}
	if o.References, err = w.references(); err != nil {
		return Object{}, fmt.Errorf("%s: references: %w", o.Path, err)
	}
	if o.Deriver, err = w.deriver(); err != nil {
		return Object{}, fmt.Errorf("%s: deriver: %w", o.Path, err)
	}
	switch signature, err := w.uint64(); {
	case err != nil:
		return Object{}, fmt.Errorf("%s: %w", o.Path, err)
	case signature != 0:
		return Object{}, fmt.Errorf("%s: %w", o.Path, w.invalid("%#x where 0 is due: signed exports are not read", signature))
	}
	return o, nil
}

func (w *wireReader) storePath() (nix.StorePath, error) {
	text, err := w.string(maxPath)
	if err != nil {
		return "", err
	}
	return w.parsePath(text)
}

func (w *wireReader) parsePath(text []byte) (nix.StorePath, error) {
	path, err := nix.ParseStorePath(string(text))
	if err != nil {
		return "", w.invalid("%v", err)
	}
	if string(path) != string(text) {
		return "", w.invalid("%q is not the plain form of %s", text, path)
	}
	return path, nil
}

func (w *wireReader) references() ([]nix.StorePath, error) {
	n, err := w.uint64()
	if err != nil {
		return nil, err
	}
	if n > maxRefs {
		return nil, w.invalid("%d references, where %d are the most", n, maxRefs)
	}
	var refs []nix.StorePath // grows as they come: n is only a claim
	for range n {
		ref, err := w.storePath()
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return slices.Compact(refs), nil
}

func (w *wireReader) deriver() (nix.StorePath, error) {
	text, err := w.string(maxPath)
	if err != nil || len(text) == 0 {
		return "", err
	}
	return w.parsePath(text)
}
