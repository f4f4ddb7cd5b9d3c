package pipelines

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// tailLines is how much of a log a person is shown at once.
const (
	tailLines   = 25
	tailLineMax = 2 << 10
)

// logFile keeps the whole log of one build on disk and its end in memory, whatever its size.
// What the tests said is kept apart as well, in a file beside it.
// A log that cannot be written does not fail a build: its path is then empty.
type logFile struct {
	path  string
	base  string
	full  *logWriter
	check *logWriter
	tail  []string
}

type logWriter struct {
	file *os.File
	*bufio.Writer
}

func newLogFile(dir string, system matrix.System, drv nix.StorePath) *logFile {
	name := strings.TrimSuffix(drv.Name(), ".drv") + "-" + drv.Digest()[:8]
	return &logFile{base: filepath.Join(dir, string(system), name)}
}

func (l *logFile) line(phase, text string) {
	if l.full == nil && l.base != "" {
		l.full = createLog(l.base + ".log")
		if l.full != nil {
			l.path = l.base + ".log"
		}
	}
	l.full.line(text)
	if isTestPhase(phase) {
		if l.check == nil {
			l.check = createLog(l.base + ".check.log")
		}
		l.check.line(text)
	}
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, text[:min(len(text), tailLineMax)])
}

// isTestPhase tells the phases in which nixpkgs' stdenv runs tests.
func isTestPhase(phase string) bool { return phase == "checkPhase" || phase == "installCheckPhase" }

func (l *logFile) close() {
	l.full.close()
	l.check.close()
}

func createLog(path string) *logWriter {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil
	}
	f, err := regular.Create(path)
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
