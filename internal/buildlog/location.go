package buildlog

import (
	"regexp"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var (
	// sourceLine matches a source location of a compiler or a test harness: "core-ipc/src/lib.rs:88:9", "src/main.c:12".
	sourceLine = regexp.MustCompile(`([\w@+./-]*[\w@+-]\.\w+):(\d+)(?::\d+)?`)
	// errorWords match a line about an error, as opposed to a warning or progress.
	errorWords = regexp.MustCompile(`(?i)\berror\b|\bpanicked at\b|\bfatal\b|\bassertion\b|--- FAIL`)
	// buildDir is the directory into which a builder unpacks the sources, with or without a sandbox.
	buildDir = regexp.MustCompile(`^(?:/private)?/(?:build|tmp/nix-build-[^/]+|nix/var/nix/builds/[^/]+(?:/build)?)/[^/]+/`)
)

// sourceLocation finds the first line of the flake's tree that the end of a build's log names together with an error.
// Rust prints the location on the line after the error.
func sourceLocation(s run.Snapshot, tail []string) *run.Line {
	isError := false
	for _, text := range tail {
		wasError := isError
		isError = errorWords.MatchString(text)
		if !isError && !(wasError && strings.HasPrefix(strings.TrimSpace(text), "-->")) {
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

// location is the line of the flake that a failed build is about: the one that its log names, or else the definition of the
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
