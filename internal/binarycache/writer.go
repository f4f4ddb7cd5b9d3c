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

// syncs is how many files are brought to disk at a time. It is waiting, not work.
const syncs = 8

// writer is the stage of an import that writes frames to files, one file after the other.
type writer struct {
	work *regular.Dir  // the directory of the files
	free chan<- *frame // where frames go that are written
	out  chan *packed  // to the publisher

	files  int         // so many were begun
	file   *os.File    // the one that is being written; nil between two
	digest *nar.Digest // of its bytes
}

// execute writes until the queue is closed, then closes the channel to the publisher.
func (w *writer) run(ctx context.Context, queue <-chan *frame) error {
	defer close(w.out)
	w.digest = nar.NewDigest()
	var syncing errgroup.Group
	syncing.SetLimit(syncs)
	// The goroutines end by themselves, and before the work directory goes.
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

// finish ends the current file, which has all of an object, and has it brought to disk.
func (w *writer) finish(done *packed, syncing *errgroup.Group) {
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
