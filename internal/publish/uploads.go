package publish

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
)

// UploadLog is the file OUT/journal/<run>.uploads: the open uploads of a run. A later run aborts those of a killed run. The
// file exists while an upload is open.
//
// The first line is the destination. The beginning of an upload appends a line, and one for each upload that has ended
// since. Lines are not synced to the disk: a killed process loses none, a power failure may. An upload whose answer has
// not arrived when the process is killed is not in the log. The run locks the file until the process ends. A nil
// UploadLog keeps nothing.
type UploadLog struct {
	out              *regular.Dir
	run, destination string

	mu    sync.Mutex
	file  *os.File // nil while no upload is open
	open  map[string]bool
	ended []byte // lines to write with the next beginning; without them, a later run aborts uploads that have ended
	err   error  // the first error; nothing is written after it
}

// Limits on logs, which anyone may have written. A run has at most --push-jobs open uploads.
const (
	uploadsExt     = ".uploads"
	maxUploadLog   = 256 << 20
	maxUploadLine  = 4 << 10
	maxOpenUploads = 1 << 12 // in all logs that one run reads
)

// NewUploadLog returns the log of a run's uploads to a cache, in the directory of its results.
func NewUploadLog(out *regular.Dir, run, destination string) *UploadLog {
	return &UploadLog{out: out, run: run, destination: destination, open: map[string]bool{}}
}

// Begun records that an upload has begun. ID is one line.
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

// Ended records that an upload is complete or aborted.
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

// create makes the file. Because of the lock on OUT, no other run takes it for that of a killed run.
func (l *UploadLog) create() error {
	if err := journalDir(l.out).Make(); err != nil {
		return err
	}
	unlock, err := l.out.Lock()
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

// RemoveIfEnded removes the file if no upload is open. It returns the first error of the log.
func (l *UploadLog) RemoveIfEnded() error {
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

// removeLog removes an open log, and the directory with its last file.
func removeLog(out *regular.Dir, f *os.File) error {
	unlock, err := out.Lock()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer unlock()
	err = errors.Join(journalDir(out).Remove(filepath.Base(f.Name())), f.Close())
	removeJournalDir(out)
	return err
}

// AbortLeft calls abort with the open uploads of killed runs to the same destination, and removes their logs. It returns
// how many uploads were open on the server.
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

// left locks the logs of killed runs to the same destination, and returns their open uploads. The logs beyond the limit
// of one run are left to later runs.
func (l *UploadLog) left(ctx context.Context) (map[*os.File][]string, error) {
	names, err := journalNames(l.out, uploadsExt)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	unlock, err := l.out.Lock()
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
			continue // its run has ended, or it is not a log
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

// readUploadLog returns the open uploads of a log, up to a limit. Ok is false if the log has another destination. A line
// that is incomplete or too long ends the log. A log that ends in its first line has no uploads: its run was killed when it
// made the log.
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
