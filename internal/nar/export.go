package nar

import (
	"fmt"
	"io"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Object is the metadata of a store object in an export stream.
type Object struct {
	Path nix.StorePath
	// References are sorted and have no duplicates. An object may refer to itself.
	References []nix.StorePath
	// Deriver is the derivation that built the object; empty if Nix does not know it.
	Deriver nix.StorePath
}

// exportMagic separates an archive from its metadata: "NIXE" in the stream.
const exportMagic = 0x4558494e

// ReadExport reads a stream of nix-store --export to its end. For each store object, it calls read with a reader of the
// NAR, skips the rest of the NAR, and calls visit with the object.
//
// For each object the stream has the number 1, the NAR, a magic number, the store path, the references, the deriver or
// "", and the number 0, where older versions of Nix had a signature; after the last object the number 0. This is the
// format of Store::exportPaths of Nix.
//
// Its memory does not depend on the stream. The error of a stream that ends too early is [io.ErrUnexpectedEOF]. Errors of
// stream, read and visit are wrapped.
func ReadExport(stream io.Reader, read func(*Reader) error, visit func(Object) error) error {
	in := newInput(stream)
	for n := 1; ; n++ {
		more, err := in.uint64()
		if err == nil && more > 1 {
			err = in.invalid("%#x where 0 or 1 is expected", more)
		}
		if err == nil && more == 0 {
			return in.endExport()
		}
		var object Object
		if err == nil {
			object, err = in.object(read)
		}
		if err != nil {
			return fmt.Errorf("read export stream: store object %d: %w", n, err)
		}
		if err := visit(object); err != nil {
			return fmt.Errorf("store object %d: %w", n, err)
		}
	}
}

// CopyTo returns a function for [ReadExport] that copies each NAR to w.
func CopyTo(w io.Writer) func(*Reader) error {
	return func(r *Reader) error {
		r.CopyTo(w)
		return nil
	}
}

// endExport checks that the stream ends here: further objects would be lost.
func (in *input) endExport() error {
	ended, err := in.ended()
	if err == nil && !ended {
		err = in.invalid("more data after the end")
	}
	if err != nil {
		return fmt.Errorf("read export stream: %w", err)
	}
	return nil
}

// readNAR reads the NAR of an object.
func (in *input) readNAR(read func(*Reader) error) error {
	r := &Reader{in: in, partial: true}
	if err := read(r); err != nil {
		return err
	}
	if err := r.skip(); err != nil {
		return err
	}
	return in.copyTo(nil)
}

func (in *input) object(read func(*Reader) error) (o Object, err error) {
	if err := in.readNAR(read); err != nil {
		return o, fmt.Errorf("nar: %w", err)
	}
	number, err := in.uint64()
	if err != nil {
		return o, err
	}
	if number != exportMagic {
		return o, in.invalid("the magic number %#x where %#x is expected", number, exportMagic)
	}
	if o.Path, err = in.storePath(); err != nil {
		return o, fmt.Errorf("store path: %w", err)
	}
	if o.References, err = in.references(); err != nil {
		return o, fmt.Errorf("%s: references: %w", o.Path, err)
	}
	if o.Deriver, err = in.optionalPath(); err != nil {
		return o, fmt.Errorf("%s: deriver: %w", o.Path, err)
	}
	signature, err := in.uint64()
	if err == nil && signature != 0 {
		err = in.invalid("%#x where 0 is expected: signed exports are not supported", signature)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", o.Path, err)
	}
	return o, nil
}

func (in *input) storePath() (nix.StorePath, error) {
	path, err := in.optionalPath()
	if err == nil && path == "" {
		err = in.invalid("an empty string where a store path is expected")
	}
	return path, err
}

// optionalPath reads a store path, or an empty string.
func (in *input) optionalPath() (nix.StorePath, error) {
	text, err := in.string(maxPath)
	if err != nil || len(text) == 0 {
		return "", err
	}
	path, err := nix.ParseStorePath(string(text))
	if err != nil {
		return "", in.invalid("%v", err)
	}
	if string(path) != string(text) {
		return "", in.invalid("%q is not the plain form of %s", text, path)
	}
	return path, nil
}

func (in *input) references() ([]nix.StorePath, error) {
	n, err := in.uint64()
	if err != nil {
		return nil, err
	}
	if n > maxRefs {
		return nil, in.invalid("%d references; the limit is %d", n, maxRefs)
	}
	var refs []nix.StorePath // not allocated in advance: n is not trusted
	for range n {
		ref, err := in.storePath()
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return slices.Compact(refs), nil
}
