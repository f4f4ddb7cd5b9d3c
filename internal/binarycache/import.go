package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	// importLevel is the level of Nix: a file is as large as the one that Nix would write (see [nar.NewCompressor]).
	importLevel = 3
	// unsynced is the number of files that are not on disk yet.
	unsynced = 8
)

// Import reads a stream of nix-store --export and adds its store objects, compressed with zstd.
// It returns the objects that it has added, even if there is an error.
//
// An object becomes visible only when all of it is on disk and all its references are visible. The error names the objects
// that were not added: those that refer to an absent object, and those that the cache has with other contents. Import never
// overwrites an object. After an error of the stream, the objects before it are still added; after other errors, and when
// ctx is done, only some are.
//
// Import reads the stream in the goroutine of its caller, and checks ctx between two reads: the caller must interrupt a
// read that blocks. Errors of the stream are wrapped, as is the context's.
func (d *Dir) Import(ctx context.Context, stream io.Reader) ([]nix.Added, error) {
	added, err := d.importStream(ctx, stream)
	if err != nil {
		err = fmt.Errorf("import into %s: %w", d.name, err)
		if errors.Is(err, syscall.ENOSPC) {
			err = hint.Wrap(err, "make room on the file system of %s (df -h %[1]s), then run the command again: it goes on from here", d.name)
		}
	}
	return added, err
}

func (d *Dir) importStream(ctx context.Context, stream io.Reader) ([]nix.Added, error) {
	if d.readOnly {
		return nil, errReadOnly
	}
	work, err := d.workDir()
	if err != nil {
		return nil, err
	}
	defer d.discard(work)
	compressor, err := nar.NewCompressor(nar.Zstd, importLevel)
	if err != nil {
		return nil, err
	}
	defer compressor.Close()
	i := &importer{
		work: work, compressor: compressor, published: make(chan struct{}),
		publisher: publisher{dir: d, work: work, waiting: map[nix.StorePath][]*importedObject{}},
	}
	close(i.published)
	i.group, i.ctx = errgroup.WithContext(ctx)
	i.group.SetLimit(unsynced)
	streamErr := i.run(stream)
	err = i.group.Wait()
	if err == nil { // otherwise the stream was not read to its end because an object has failed
		err = streamErr
	}
	switch {
	case err == nil:
		err = i.publisher.unresolved()
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if len(i.publisher.added) > 0 {
		err = errors.Join(err, d.dir.Sub(narDir).Sync(), d.dir.Sync())
	}
	return i.publisher.added, err
}

// importedObject is a store object of a stream.
type importedObject struct {
	nar.Object
	job    *nar.CompressionJob
	file   *os.File // the compressed NAR, in the work directory
	packed nar.Compressed
}

// importer splits a stream into store objects. Each object has a goroutine that makes it visible.
type importer struct {
	ctx        context.Context // of this import, for the callbacks of ReadExport
	work       *regular.Dir
	compressor *nar.Compressor
	group      *errgroup.Group

	files     int             // number of files so far
	current   *importedObject // its NAR is being read
	published chan struct{}   // closed when the object before is published
	publisher publisher       // used by one object at a time, in the order of the stream
}

// run reads the stream to its end.
func (i *importer) run(stream io.Reader) error {
	err := nar.ReadExport(regular.Until(i.ctx, stream), i.begin, i.end)
	if i.current != nil {
		i.current.job.End(err)
		_ = i.current.finish()
	}
	return err
}

// begin creates the file of an object, and compresses the NAR to it while the stream is read.
func (i *importer) begin(r *nar.Reader) error {
	file, err := i.work.CreateNew(strconv.Itoa(i.files))
	if err != nil {
		return err
	}
	i.files++
	job, err := i.compressor.Start(i.ctx, func(b []byte) error { _, err := file.Write(b); return err })
	if err != nil {
		return errors.Join(err, file.Close())
	}
	i.current = &importedObject{job: job, file: file}
	r.CopyTo(job)
	return nil
}

// end receives the metadata of the NAR that has just ended.
func (i *importer) end(o nar.Object) error {
	object := i.current
	i.current = nil
	object.Object = o
	object.job.End(nil)
	before, published := i.published, make(chan struct{})
	i.published = published
	i.group.Go(func() error {
		defer close(published)
		err := object.finish()
		<-before
		if err != nil {
			return fmt.Errorf("%s: %w", object.Path, err)
		}
		return i.publisher.add(i.ctx, object)
	})
	return nil
}

// finish waits until the file of an object is on disk.
func (o *importedObject) finish() (err error) {
	if o.packed, err = o.job.Wait(); err != nil {
		return errors.Join(err, o.file.Close())
	}
	return syncAndClose(o.file)
}

func (o *importedObject) fileName() string { return filepath.Base(o.file.Name()) }
