package capsule

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	// description is the first member.
	description = "capsule.json"
	// Limits on what is believed of a file that anybody may have written.
	maxWindow      = 8 << 20
	maxDescription = 16 << 20
	maxExport      = 16 << 30
	// maxLogs bounds all logs of a capsule, which are held in memory: 512 of full length.
	maxLogs = 32 << 20
)

// Unpacked is a capsule whose contents are on this machine, and have been proven.
type Unpacked struct {
	Capsule
	// Dir has the exports, each under the name of its member.
	Dir string
	// Logs are the ends of logs, by the name of the member.
	Logs map[string]string
}

// Unpack reads a capsule, and writes its exports into a directory. A store object whose path was not made of its
// contents is an error that wraps [derivations.ErrForged]: to import it would be to have it replace something else.
func Unpack(ctx context.Context, file, dir string) (*Unpacked, error) {
	u, err := unpack(ctx, file, dir)
	if err != nil {
		return nil, fmt.Errorf("read capsule %s: %w", file, err)
	}
	return u, nil
}

func unpack(ctx context.Context, file, dir string) (*Unpacked, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, errors.Unwrap(err) // the name is said already
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReader(f), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	u := &Unpacked{Dir: dir, Logs: map[string]string{}}
	err = u.read(ctx, tar.NewReader(regular.Until(ctx, z)))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // which is no fault of the file
	}
	return u, err
}

func (u *Unpacked) read(ctx context.Context, t *tar.Reader) error {
	h, err := t.Next()
	if err != nil {
		return damaged(err)
	}
	if h.Name != description || h.Size > maxDescription {
		return fmt.Errorf("it does not begin with %s: it is not a capsule", description)
	}
	text, err := io.ReadAll(t)
	if err == nil {
		err = regular.UnmarshalJSON(text, &u.Capsule)
	}
	if err != nil {
		return damaged(err)
	}
	if err := u.validate(); err != nil {
		return err
	}
	return u.members(ctx, t)
}

// damaged tells a file that was cut off, or is something else.
func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return hint.Wrap(errors.New("it was cut off"), "copy it again")
	}
	return hint.Wrap(fmt.Errorf("it is damaged, or not a capsule: %v", err), "copy it again; a failed run leaves it in OUT/capsules")
}

// members reads what the description announces, in whatever order, and passes over the rest.
func (u *Unpacked) members(ctx context.Context, t *tar.Reader) error {
	exports, logs := map[string]*Cell{}, map[string]bool{}
	for i := range u.Cells {
		exports[u.Cells[i].Export] = &u.Cells[i]
		for _, name := range u.Cells[i].logs() {
			logs[name] = true
		}
	}
	left := maxLogs
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(err)
		}
		switch cell := exports[h.Name]; {
		case cell != nil:
			delete(exports, h.Name)
			if err := u.export(ctx, t, cell, h.Size); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
		case logs[h.Name]:
			text, err := io.ReadAll(io.LimitReader(t, maxLog))
			if err != nil {
				return damaged(err)
			}
			if left -= len(text); left < 0 {
				return fmt.Errorf("its logs are more than %d MiB", maxLogs>>20)
			}
			u.Logs[h.Name] = string(text)
		}
	}
	for name := range exports {
		return hint.Wrap(fmt.Errorf("%s is not in it", name), "it was edited; copy it again")
	}
	return nil
}

// export writes an export to disk while it is proven.
func (u *Unpacked) export(ctx context.Context, r io.Reader, cell *Cell, size int64) error {
	if size > maxExport {
		return fmt.Errorf("%d bytes, where %d are the most", size, int64(maxExport))
	}
	file := filepath.Join(u.Dir, filepath.FromSlash(cell.Export))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("it is there twice")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	paths, err := derivations.Check(ctx, io.TeeReader(r, io.MultiWriter(f, sum)))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(err)
	}
	if errors.Is(err, derivations.ErrForged) {
		return hint.Wrap(err, "somebody has put something else into it: nothing of it was imported")
	}
	if err != nil {
		return err
	}
	if err := sameHash(sum, cell.ExportHash); err != nil {
		return err
	}
	if err := cell.has(paths); err != nil {
		return err
	}
	return f.Close()
}

func sameHash(sum hash.Hash, want string) error {
	got := gonix.NewHash(gonix.SHA256, sum.Sum(nil))
	if wanted, err := nix.ParseHash(want); err != nil || !got.Equal(wanted) {
		return fmt.Errorf("its hash is %s, and %s says %s", got.SRI(), description, want)
	}
	return nil
}

// has says whether all derivations that are to be built are among the paths.
func (c *Cell) has(paths []nix.StorePath) error {
	there := map[nix.StorePath]bool{}
	for _, p := range paths {
		there[p] = true
	}
	for _, p := range c.Packages {
		if !there[p.Derivation] {
			return fmt.Errorf("%s is not in it", p.Derivation)
		}
	}
	return nil
}
