package pipelines

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// UploadLog is the file OUT/journal/<run>.uploads: the uploads that a run has begun at a cache and has not ended. A later
// run aborts those of a run that was killed. The file exists while an upload is open.
//
// The first line is the destination. Each beginning appends a line, with those of the ends since the last, and does not
// wait for the disk: a killed process loses none, a power failure may. The log cannot have an upload whose answer had not arrived when the process
// was killed. The run holds a lock on the file, which ends with the process. A nil UploadLog keeps nothing.
type UploadLog struct {
	out              *regular.Dir
	run, destination string

	mu    sync.Mutex
	file  *os.File // nil while no upload is open
	open  map[string]bool
	ended []byte // lines that are written with the next beginning: a later run that does not see them asks in vain
	err   error  // the first; nothing is written after it
}

// Bounds on what is read of logs, which anyone may have written. A run has one upload open for each of its --push-jobs.
const (
	uploadsExt     = ".uploads"
	maxUploadLog   = 256 << 20
	maxUploadLine  = 4 << 10
	maxOpenUploads = 1 << 12 // of all logs that one run reads
)

// NewUploadLog returns the log of a run's uploads to a cache, in the directory of its results.
func NewUploadLog(out *regular.Dir, run, destination string) *UploadLog {
	return &UploadLog{out: out, run: run, destination: destination, open: map[string]bool{}}
}

// Begun notes that an upload has begun. ID is one line.
func (l *UploadLog) Begun(id string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && l.err == nil {
		l.err = l.create()
	}
	l.open[id] = true
	l.write(append(l.ended, "+"+id+"\n"...))
}

// Ended notes that an upload is complete or aborted.
func (l *UploadLog) Ended(id string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
	l.ended = append(l.ended, "-"+id+"\n"...)
}

func (l *UploadLog) write(lines []byte) {
	if l.err == nil {
		_, l.err = l.file.Write(lines)
	}
	l.ended = l.ended[:0]
}

// create makes the file. The lock on OUT keeps other runs from taking it for that of a killed run.
func (l *UploadLog) create() error {
	if err := journalDir(l.out).Make(); err != nil {
		return err
	}
	unlock, err := lockDir(l.out)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := journalDir(l.out).CreateNew(l.run + uploadsExt)
	if err != nil {
		return err
	}
	l.file = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	_, err = io.WriteString(f, l.destination+"\n")
	return err
}

// Settle removes the file where no upload is open. It returns the first error of the log.
func (l *UploadLog) Settle() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && len(l.open) > 0 {
		l.write(l.ended)
	}
	err := l.err
	if l.file != nil && len(l.open) == 0 {
		err = errors.Join(err, removeLog(l.out, l.file))
		l.file, l.err, l.ended = nil, nil, nil
	}
	if err != nil {
		return fmt.Errorf("keep a log of uploads: %w", err)
	}
	return nil
}

// removeLog removes a log that is open, and the directory with the last file in it.
func removeLog(out *regular.Dir, f *os.File) error {
	unlock, err := lockDir(out)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer unlock()
	err = errors.Join(journalDir(out).Remove(filepath.Base(f.Name())), f.Close())
	removeJournalDir(out)
	return err
}

// AbortLeft has abort end the uploads of killed runs that were open at the same destination, and removes their logs. It
// returns how many uploads were open on the server.
func (l *UploadLog) AbortLeft(ctx context.Context, abort func(context.Context, []string) (int, error)) (aborted int, err error) {
	if l == nil {
		return 0, nil
	}
	left, err := l.left(ctx)
	for f, ids := range left {
		n, abortErr := abort(ctx, ids)
		aborted += n
		if abortErr == nil {
			abortErr = removeLog(l.out, f)
		} else {
			_ = f.Close() // a later run tries again
		}
		err = errors.Join(err, abortErr)
	}
	return aborted, err
}

// left locks the logs of killed runs that are about the same destination, and returns the uploads that they have open.
// Once these are as many as one run aborts, the other logs are for later runs.
func (l *UploadLog) left(ctx context.Context) (map[*os.File][]string, error) {
	names, err := journalNames(l.out, uploadsExt)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	unlock, err := lockDir(l.out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	left, n := map[*os.File][]string{}, 0
	for _, name := range names {
		if ctx.Err() != nil {
			return left, context.Cause(ctx)
		}
		if n >= maxOpenUploads {
			break
		}
		f, err := journalDir(l.out).OpenRegular(name)
		if err != nil {
			continue // its run has ended meanwhile, or it is no log
		}
		ids, ok := []string(nil), false
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // else its run is alive
			ids, ok = readUploadLog(regular.Until(ctx, f), l.destination, maxOpenUploads-n)
		}
		if !ok {
			_ = f.Close()
			continue
		}
		left[f] = ids
		n += len(ids)
	}
	return left, nil
}

// readUploadLog returns the uploads that are open in a log, at most as many as limit. Ok is false where the log is about
// another destination. A line that is cut off or too long ends the log. A log that ends in its first line has no uploads:
// its run was killed while it made the log.
func readUploadLog(r io.Reader, destination string, limit int) (ids []string, ok bool) {
	lines := bufio.NewReaderSize(io.LimitReader(r, maxUploadLog), maxUploadLine)
	line, err := lines.ReadSlice('\n')
	if err != nil || string(line) != destination+"\n" {
		return nil, err == io.EOF && strings.HasPrefix(destination, string(line))
	}
	open := map[string]bool{}
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return slices.Sorted(maps.Keys(open)), true
		}
		mark, id := line[0], strings.TrimSuffix(string(line[1:]), "\n")
		if mark == '+' && len(open) < limit {
			open[id] = true
		} else if mark == '-' {
			delete(open, id)
		}
	}
}

// abortLeft aborts what killed runs have left open on the cache. A failure is a warning: a later run tries again.
func (r *Release) abortLeft(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	n, err := r.Publish.Uploads.AbortLeft(ctx, r.Publish.To.AbortUploads)
	if n > 0 {
		r.Event(run.Notice{Level: run.Info, Text: fmt.Sprintf("aborted %s that a killed run had left open on %s", run.Count(n, "upload"), r.Publish.To.Name())})
	}
	if err != nil {
		r.Warn("", "abort uploads that a killed run has left open: %v", err)
	}
}
