package buildlog

import (
	"bufio"
	"os"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// tailLines and tailLineMax bound the end of a log that events contain.
const (
	tailLines   = 25
	tailLineMax = 2 << 10
)

// logFile writes the whole log of one build to disk, and keeps its end in memory.
// A second file beside it has the output of the tests.
// A log that cannot be written does not fail a build; its path is then empty.
type logFile struct {
	path  string
	dir   *regular.Dir
	base  string
	full  *logWriter
	check *logWriter
	tail  []string
}

type logWriter struct {
	file *os.File
	*bufio.Writer
}

func newLogFile(dir *regular.Dir, system matrix.System, drv nix.StorePath) *logFile {
	name := nix.DerivationName(drv) + "-" + drv.Digest()[:8]
	return &logFile{dir: dir.Sub(string(system)), base: name}
}

func (l *logFile) line(phase, text string) {
	if l.full == nil && l.base != "" {
		l.full = l.create(".log")
		if l.full != nil {
			l.path = l.dir.File(l.base + ".log")
		}
	}
	l.full.line(text)
	if isTestPhase(phase) {
		if l.check == nil {
			l.check = l.create(".check.log")
		}
		l.check.line(text)
	}
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, text[:min(len(text), tailLineMax)])
}

// isTestPhase reports whether nixpkgs' stdenv runs tests in a phase.
func isTestPhase(phase string) bool { return phase == "checkPhase" || phase == "installCheckPhase" }

func (l *logFile) close() {
	l.full.close()
	l.check.close()
}

func (l *logFile) create(suffix string) *logWriter {
	f, err := l.dir.CreateNew(l.base + suffix)
	if err != nil {
		return nil
	}
	return &logWriter{file: f, Writer: bufio.NewWriterSize(f, 16<<10)}
}

func (w *logWriter) line(text string) {
	if w != nil {
		w.WriteString(text)
		w.WriteByte('\n')
	}
}

func (w *logWriter) close() {
	if w != nil {
		w.Flush()
		w.file.Close()
	}
}
