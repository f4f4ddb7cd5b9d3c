package compare

import (
	"context"
	"io"
	"os"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Tree is the contents of a store object: [OnDisk], [NARFile], [NAR], [Dumped] or [InCache] makes one.
// It can be compared several times, also at the same time.
type Tree struct {
	// Name names the tree in reports and errors.
	Name string

	open func(context.Context) (io.ReadCloser, error)
}

// OnDisk is a store path, or any other file or directory. Of modes it has only the owner's executable bit, as a NAR does.
// Sockets, devices and pipes are an error.
func OnDisk(path string) Tree {
	return NAR(path, func(ctx context.Context) (io.ReadCloser, error) {
		if _, err := os.Lstat(path); err != nil {
			return nil, err
		}
		return newDump(func(w io.Writer) error { return nar.DumpTree(ctx, w, path) }), nil
	})
}

// Dumped is the NAR that write writes. Each comparison calls write. It must return when ctx is done or w fails.
func Dumped(name string, write func(ctx context.Context, w io.Writer) error) Tree {
	return NAR(name, func(ctx context.Context) (io.ReadCloser, error) {
		return newDump(func(w io.Writer) error { return write(ctx, w) }), nil
	})
}

// dump is a NAR that is being written.
type dump struct {
	*io.PipeReader
	done chan struct{}
}

func newDump(write func(io.Writer) error) *dump {
	r, w := io.Pipe()
	d := &dump{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		_ = w.CloseWithError(write(w)) // never fails
	}()
	return d
}

// Close stops the goroutine that writes, and waits for it.
func (d *dump) Close() error {
	err := d.PipeReader.Close()
	<-d.done
	return err
}

// NAR is the uncompressed NAR that open returns. A goroutine reads the stream: a read must return in the end, or when the
// context that open got is done.
func NAR(name string, open func(context.Context) (io.ReadCloser, error)) Tree {
	return Tree{name, open}
}

// NARFile is a NAR in a file, plain or compressed.
func NARFile(file regular.File) Tree {
	return NAR(file.Path(), func(context.Context) (io.ReadCloser, error) {
		f, err := file.OpenRegular()
		if err != nil {
			return nil, err
		}
		return nar.DecompressAny(f)
	})
}

// InCache is a store object in a binary cache. If its NAR does not have the hash of its narinfo, comparing it fails.
func InCache(cache run.NARHasher, path nix.StorePath) Tree {
	return Dumped(string(path), func(ctx context.Context, w io.Writer) error { return run.DumpVerified(ctx, w, cache, path) })
}
