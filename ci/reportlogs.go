package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// printLogTails reports the ends of the logs of failed builds, if the logs are beside the manifest. The manifest is from
// another job, so only regular files in its directory logs are read, whatever paths it has.
func (l left) printLogTails(at time.Time, reporter run.Reporter) {
	logs, err := regular.OpenRoot(filepath.Join(filepath.Dir(l.file), "logs"))
	if err != nil {
		return
	}
	defer logs.Close()
	runID := filepath.Base(l.manifest.Logs) // OUT/logs/RUN on the machine of the job
	for _, cell := range l.manifest.Cells {
		for _, p := range cell.Packages {
			if p.Failure == nil || p.Log == "" {
				continue
			}
			if tail, err := tailOf(logs, filepath.Join(runID, p.Log)); err == nil {
				reporter.Report(at, run.LogTail{System: cell.System, Derivation: p.Derivation, Tail: tail})
			}
		}
	}
}

// The end of a log that is shown has as many lines as in the job.
const (
	logTail      = 25
	logTailBytes = 64 << 10
)

func tailOf(dir *os.Root, file string) ([]string, error) {
	f, err := regular.OpenIn(dir, file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := regular.Tail(f, logTailBytes)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	lines = lines[max(0, len(lines)-logTail):]
	for i, line := range lines {
		lines[i] = nix.PlainText(line)
	}
	return lines, nil
}
