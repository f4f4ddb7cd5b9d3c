package binarycache

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// syncs is the number of files that are synced to disk at the same time.
const syncs = 8

// writer is the stage of an import that writes frames to files, one file after the other.
type writer struct {
	work *regular.Dir         // the directory of the files
	free chan<- *frame        // receives frames after they are written
	out  chan *importedObject // to the publisher

	files  int         // number of files so far
	file   *os.File    // is being written; nil between two objects
	digest *nar.Digest // of its bytes
}

// run writes until the queue is closed, and closes the channel to the publisher.
func (w *writer) run(ctx context.Context, queue <-chan *frame) error {
	defer close(w.out)
	w.digest = nar.NewDigest()
	var syncing errgroup.Group
	syncing.SetLimit(syncs)
	// The goroutines end before the work directory is removed.
	defer func() { _ = syncing.Wait() }()
	defer func() {
		if w.file != nil {
			_ = w.file.Close()
		}
	}()

	for f := range queue {
		<-f.compressed
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.write(f); err != nil {
			return err
		}
		done := f.last
		w.free <- f
		if done == nil {
			continue
		}
		w.finish(done, &syncing)
		select {
		case w.out <- done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *writer) write(f *frame) error {
	if f.last != nil && f.last.exists {
		return nil
	}
	if w.file == nil {
		file, err := w.work.CreateNew(strconv.Itoa(w.files))
		if err != nil {
			return err
		}
		w.file = file
		w.files++
	}
	_, _ = w.digest.Write(f.zst)
	_, err := w.file.Write(f.zst)
	return err
}

// finish closes the file of an object, and syncs it to disk.
func (w *writer) finish(done *importedObject, syncing *errgroup.Group) {
	file := w.file
	done.fileHash, done.fileSize = w.digest.Hash(), w.digest.Size
	w.file = nil
	w.digest.Reset()

	switch {
	case file == nil:
		done.synced <- nil
	case done.exists:
		done.synced <- w.discard(file)
	default:
		done.file = filepath.Base(file.Name())
		syncing.Go(func() error {
			done.synced <- syncAndClose(file)
			return nil
		})
	}
}

func (w *writer) discard(file *os.File) error {
	err := file.Close()
	_ = w.work.Remove(filepath.Base(file.Name()))
	return err
}
