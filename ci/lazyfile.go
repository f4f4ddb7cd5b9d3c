package main

import (
	"io"
	"os"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// lazyFile is a log that is made when something is written to it. Several engines may write. What they write is cleaned.
type lazyFile struct {
	regular.File
	text *report.Output
	mu   sync.Mutex
	file *os.File
}

// when returns the file, or nothing to write to. An engine's log is long, and its client keeps it in memory.
func (f *lazyFile) when(wanted bool) io.Writer {
	if !wanted {
		return nil
	}
	f.text = report.NewOutput(f)
	return f.text
}

// Write never fails: the engine's log is best effort, and no reason to end a run.
func (f *lazyFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		file, err := f.Dir.CreateNew(f.Base)
		if err != nil {
			return len(p), nil
		}
		f.file = file
	}
	f.file.Write(p)
	return len(p), nil
}

func (f *lazyFile) Close() error {
	if f.text != nil {
		_ = f.text.Flush() // as Write
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
