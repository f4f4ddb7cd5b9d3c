package buildlog

import (
	"regexp"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var (
	// sourceLine is how compilers and test harnesses name a place: "core-ipc/src/lib.rs:88:9", "src/main.c:12".
	sourceLine = regexp.MustCompile(`([\w@+./-]*[\w@+-]\.\w+):(\d+)(?::\d+)?`)
	// errorWords are the words of a line that is about what went wrong, rather than about a warning or about progress.
	errorWords = regexp.MustCompile(`(?i)\berror\b|\bpanicked at\b|\bfatal\b|\bassertion\b|--- FAIL`)
	// buildDir is where a builder has unpacked the sources: in a sandbox, or outside of one.
	buildDir = regexp.MustCompile(`^(?:/private)?/(?:build|tmp/nix-build-[^/]+|nix/var/nix/builds/[^/]+(?:/build)?)/[^/]+/`)
)

// sourceLocation finds the line of the flake's tree that the end of a build's log blames: the first one that is named together
// with an error and is there. Rust puts the place below the error's own line.
func sourceLocation(s run.Snapshot, tail []string) *run.Line {
	blamed := false
	for _, text := range tail {
		before := blamed
		blamed = errorWords.MatchString(text)
		if !blamed && !(before && strings.HasPrefix(strings.TrimSpace(text), "-->")) {
			continue
		}
		for _, m := range sourceLine.FindAllStringSubmatch(text, -1) {
			if l := run.LineIn(s, buildDir.ReplaceAllString(m[1], ""), m[2]); l != nil {
				return l
			}
		}
	}
	return nil
}

// location is the line of the flake that a failed build is about: one that its log names, or else the one that defines the
// package.
func (l *Log) location(b *build) *run.Line {
	if at := sourceLocation(l.Snapshot, b.log.tail); at != nil {
		return at
	}
	for _, p := range l.Packages {
		if p.Derivation == b.drv {
			return p.Defined
		}
	}
	return nil
}
