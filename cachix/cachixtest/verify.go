package cachixtest

import (
	"strconv"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// verify reads a compressed NAR, and compares it with the hashes and sizes that the client has sent. Its memory is limited by
// the window of the decompressor.
func verify(file *object, info *gonix.NARInfo) error {
	r := file.reader()
	defer r.Close()
	return nar.VerifyFile(r, info)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
