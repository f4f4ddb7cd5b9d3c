package pipelines

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var (
	// sourceLine is how compilers and test harnesses name a place: "core-ipc/src/lib.rs:88:9", "src/main.c:12".
	sourceLine = regexp.MustCompile(`([\w@+./-]*[\w@+-]\.\w+):(\d+)(?::\d+)?`)
	// blames are the words of a line that is about what went wrong, rather than about a warning or about progress.
	blames = regexp.MustCompile(`(?i)\berror\b|\bpanicked at\b|\bfatal\b|\bassertion\b|--- FAIL`)
	// buildDir is where a builder has unpacked the sources: in a sandbox, or outside of one.
	buildDir = regexp.MustCompile(`^(?:/private)?/(?:build|tmp/nix-build-[^/]+|nix/var/nix/builds/[^/]+(?:/build)?)/[^/]+/`)
)

// culprit finds the line of the flake's tree that the end of a build's log blames: the first one that is named together
// with an error and is there. Rust puts the place below the error's own line.
func culprit(s run.Snapshot, tail []string) *run.Line {
	blamed := false
	for _, text := range tail {
		before := blamed
		blamed = blames.MatchString(text)
		if !blamed && !(before && strings.HasPrefix(strings.TrimSpace(text), "-->")) {
			continue
		}
		for _, m := range sourceLine.FindAllStringSubmatch(text, -1) {
			if l := lineOf(s, buildDir.ReplaceAllString(m[1], ""), m[2]); l != nil {
				return l
			}
		}
	}
	return nil
}

// definition reads where the flake defines a package, as Nix has it: "/nix/store/…-source/nix/package.nix:12".
// It is nil for what an input defines.
func definition(s run.Snapshot, position string) *run.Line {
	source, err := nix.SourcePath(s.NARHash)
	if err != nil {
		return nil
	}
	_, own, found := strings.Cut(position, string(source)+"/") // a store at another root has that before it
	if !found {
		return nil
	}
	return positionOf(s, own)
}

// positionOf is where an evaluation failed: "nix/package.nix:12:3", as [nix.EvalError] has it of the flake's own files.
func positionOf(s run.Snapshot, position string) *run.Line {
	file, rest, _ := strings.Cut(position, ":")
	line, _, _ := strings.Cut(rest, ":")
	return lineOf(s, file, line)
}

// lineOf returns the line where the tree has the file: from the flake's own directory, or from the root.
func lineOf(s run.Snapshot, file, line string) *run.Line {
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || s.Dir == "" {
		return nil
	}
	for _, name := range []string{path.Join(s.Subdir, file), path.Clean(file)} {
		if !filepath.IsLocal(name) {
			continue
		}
		if info, err := os.Lstat(filepath.Join(s.Dir, filepath.FromSlash(name))); err == nil && info.Mode().IsRegular() {
			return &run.Line{File: name, Line: n}
		}
	}
	return nil
}

// blame has the failures of a log say which line of the flake they are about: one that the log names, or else the one
// that defines the package.
func (l *buildLog) blame(s run.Snapshot, packages []*run.PackageResult) {
	defined := map[nix.StorePath]*run.Line{}
	for _, p := range packages {
		defined[p.Derivation] = p.Defined
	}
	l.blamed = func(drv nix.StorePath, tail []string) *run.Line {
		if at := culprit(s, tail); at != nil {
			return at
		}
		return defined[drv]
	}
}

func (l *buildLog) at(b *running) *run.Line {
	if l.blamed == nil {
		return nil
	}
	return l.blamed(b.drv, b.log.tail)
}
