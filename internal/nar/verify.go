package nar

import (
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// VerifyFile reads the compressed file of a NAR to its end, and compares it and the NAR in it with the narinfo.
// If the narinfo does not state the hash and the size of the file, it compares only the NAR. It reads and decompresses no
// more than the stated sizes. If something differs, its error wraps [ErrMismatch].
func VerifyFile(r io.Reader, info *nix.NARInfo) error {
	if info.FileHash.IsZero() || info.FileSize == 0 {
		return Verify(r, info)
	}
	file := NewDigest()
	r = io.TeeReader(io.LimitReader(r, info.FileSize+1), file)
	narErr := Verify(r, info)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	// If the file is damaged, the error of the NAR in it does not matter.
	if err := file.Compare("file", info.FileHash, info.FileSize); err != nil {
		return err
	}
	return narErr
}

// Verify compares the NAR in a compressed file with the narinfo, as [VerifyFile] does.
func Verify(r io.Reader, info *nix.NARInfo) error {
	nar := NewDigest()
	if err := Decompress(nar, r, info); err != nil {
		return err
	}
	return nar.Compare("NAR", info.NARHash, info.NARSize)
}

// Decompress writes the NAR in a compressed file to w: at most one byte more than the narinfo states.
func Decompress(w io.Writer, r io.Reader, info *nix.NARInfo) error {
	d, err := NewDecompressor(r, info.Compression)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.Copy(w, io.LimitReader(d, info.NARSize+1))
	return err
}
