package flake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// lfsPointer is the file that Git LFS commits instead of the real one: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
var lfsPointer = regexp.MustCompile(`^version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n$`)

const maxLFSPointer = 1024 // bytes, by the specification

// onlyLFS reports whether the working tree differs from the commit only in files of Git LFS that are checked out. git itself
// would run the LFS program that the configuration names.
func (v *view) onlyLFS(ctx context.Context, rev string) (bool, error) {
	root, err := regular.OpenRoot(v.checkout.top)
	if err != nil {
		return false, err
	}
	defer root.Close()
	changes, err := v.neutral.list(ctx, v.checkout.top, v.worktree("diff", "--raw", "-z", "--no-abbrev", "--no-renames", "--ignore-submodules=all", rev, "--")...)
	if err != nil {
		return false, err
	}
	for change := range slices.Chunk(changes, 2) { // ":100644 100644 OLD NEW M", NAME
		fields := strings.Fields(strings.TrimPrefix(change[0], ":"))
		modified := len(change) == 2 && len(fields) == 5 && fields[0] == fields[1] && fields[4] == "M"
		if !modified || !v.isCheckedOutLFS(ctx, root, fields[2], change[1]) {
			return false, nil
		}
	}
	return true, nil
}

// isCheckedOutLFS reports whether a file has the hash and the size that the pointer in the commit's blob states.
func (v *view) isCheckedOutLFS(ctx context.Context, root *os.Root, blob, name string) bool {
	pointer, err := v.object(ctx, blob, maxLFSPointer)
	m := lfsPointer.FindSubmatch(pointer)
	if err != nil || m == nil {
		return false
	}
	f, err := regular.OpenIn(root, name)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || fmt.Sprint(info.Size()) != string(m[2]) {
		return false
	}
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return err == nil && hex.EncodeToString(hash.Sum(nil)) == string(m[1])
}
