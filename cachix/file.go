package cachix

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// FileSource is a source whose NARs are files. Files that already have the wanted compression are sent unchanged, and
// need no memory.
type FileSource interface {
	Source
	// Info returns the narinfo of a store object.
	Info(path nix.StorePath) (*nix.NARInfo, error)
	// OpenNAR opens the file of a narinfo.
	OpenNAR(info *nix.NARInfo) (*os.File, error)
}

// openFile opens the file of an object, if there is one that is sent unchanged.
func (p *push) openFile(o *object) error {
	files, ok := p.source.(FileSource)
	if !ok {
		return nil
	}
	info, err := files.Info(o.Path)
	if err != nil {
		return err
	}
	if info.Compression != p.compression || info.FileHash.Type() != gonix.SHA256 || info.FileSize <= 0 {
		return nil
	}
	o.info = info
	o.file, err = files.OpenNAR(info)
	return err
}

// fileParts splits the file of an object into parts. Its narinfo is not trusted: while the parts are sent, the file is
// hashed, and so is the NAR that it decompresses to.
func (p *push) fileParts(ctx context.Context, o *object, send func(part) error) (nar.Compressed, error) {
	contents, file := nar.NewDigest(), nar.NewDigest()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return decompress(ctx, o, narWriter{contents, p, o}) })
	group.Go(func() error { return p.sendFile(ctx, o, send, file) })
	err := group.Wait()
	if err == nil && !file.Hash().Equal(o.info.FileHash) {
		err = errors.New("read nar: the hash of the file is not the one in its narinfo")
	}
	return nar.Compressed{NARHash: contents.Hash(), NARSize: contents.Size, FileHash: file.Hash(), FileSize: file.Size}, err
}

// decompress writes the NAR in the file that is sent. The source would open the file again, when it may be another one.
func decompress(ctx context.Context, o *object, w io.Writer) error {
	d, err := nar.NewDecompressor(regular.Until(ctx, io.NewSectionReader(o.file, 0, o.info.FileSize)), o.info.Compression)
	if err != nil {
		return fmt.Errorf("read nar: %w", err)
	}
	defer d.Close()
	if _, err = io.Copy(w, d); err != nil {
		return fmt.Errorf("read nar: %w", err)
	}
	return nil
}

func (p *push) sendFile(ctx context.Context, o *object, send func(part) error, sum io.Writer) error {
	size, fileSize, memory := partSizeFor(o.info.FileSize), o.info.FileSize, p.client.memory
	for number, offset := 1, int64(0); offset < fileSize; number, offset = number+1, offset+size {
		data := io.NewSectionReader(o.file, offset, min(size, fileSize-offset))
		if err := memory.reserve(ctx, data.Size()); err != nil {
			return err
		}
		release := func() { memory.release(data.Size()) }
		digest := md5.New()
		read, err := io.Copy(io.MultiWriter(sum, digest), io.NewSectionReader(data, 0, data.Size()))
		if err == nil && read < data.Size() {
			err = fmt.Errorf("%s ends after %d of %d bytes", o.info.URL, offset+read, fileSize)
		}
		if err != nil {
			release()
			return fmt.Errorf("read nar: %v", err)
		}
		if err := send(part{number: number, data: data, md5: [md5.Size]byte(digest.Sum(nil)), done: release}); err != nil {
			return err
		}
	}
	return nil
}
