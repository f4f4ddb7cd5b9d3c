package cachix

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// fileNAR is a file of a binary cache that already has the wanted compression. Its narinfo is not trusted: while the
// parts are sent, the file is hashed, and so is the NAR that it decompresses to.
type fileNAR struct {
	push   *push
	object *object
	info   *nix.NARInfo
	file   *os.File
}

func (n *fileNAR) compression() nar.Compression {
	return nar.Compression(n.info.Compression)
}

func (n *fileNAR) Close() error { return n.file.Close() }

func (n *fileNAR) parts(ctx context.Context, send func(part) error) (nar.Compressed, error) {
	contents, file := nar.NewDigest(), nar.NewDigest()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return n.push.source.Dump(ctx, narWriter{contents, n.push, n.object}, n.object.Path)
	})
	group.Go(func() error { return n.send(ctx, send, file) })
	err := group.Wait()
	packed := nar.Compressed{
		NARHash: contents.Hash(), NARSize: contents.Size, FileHash: file.Hash(), FileSize: file.Size,
	}
	if err == nil && !packed.FileHash.Equal(n.info.FileHash) {
		err = errors.New("read nar: the hash of the file is not the one in its narinfo")
	}
	return packed, err
}

// send splits the file into parts.
func (n *fileNAR) send(ctx context.Context, send func(part) error, sum io.Writer) error {
	size, memory := partSizeFor(n.info.FileSize), n.push.client.memory
	for number, offset := 1, int64(0); offset < n.info.FileSize; number, offset = number+1, offset+size {
		data := io.NewSectionReader(n.file, offset, min(size, n.info.FileSize-offset))
		if err := memory.reserve(ctx, data.Size()); err != nil {
			return err
		}
		release := func() { memory.release(data.Size()) }
		digest := md5.New()
		read, err := io.Copy(io.MultiWriter(sum, digest), io.NewSectionReader(data, 0, data.Size()))
		if err == nil && read < data.Size() {
			err = fmt.Errorf("%s ends after %d of %d bytes", n.info.URL, offset+read, n.info.FileSize)
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
