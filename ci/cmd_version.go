package main

import (
	"cmp"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// toolName is the name of this program in manifests, reports and requests.
const toolName = "open-sesame-ci"

// sourceVersion is the version of this source. It is used if Go does not record a tag.
const sourceVersion = "0.1.0"

// The commit that this program was built from, and its time as YYYYMMDDHHMMSS. flake.nix sets them with the linker: Nix
// builds without .git, where Go finds no commit.
var commit, commitTime string

// version of this program, as manifests record it.
var version = thisBuild().version

// build is where this program comes from.
type build struct {
	version  string
	commit   string // empty if it is not known
	time     time.Time
	modified bool // the checkout had changes
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	b := buildOf(info)
	if commit != "" {
		b.commit, b.time, b.modified = commit, parseCommitTime(commitTime), strings.HasSuffix(commit, "-dirty")
	}
	return b
}

// Module versions: a tag, or the commit's time and hash (https://go.dev/ref/mod#pseudo-versions).
var (
	tagVersion    = regexp.MustCompile(`^v(\d+\.\d+\.\d+)$`)
	pseudoVersion = regexp.MustCompile(`[-.](\d{14})-([0-9a-f]{12})(?:\+|$)`)
)

// buildOf reads what Go has recorded: `go build` in a checkout records the commit, and `go install PACKAGE@VERSION` the
// version of the module. `go run` records neither.
func buildOf(info *debug.BuildInfo) build {
	b := build{version: sourceVersion}
	if m := tagVersion.FindStringSubmatch(info.Main.Version); m != nil {
		b.version = m[1]
	}
	if m := pseudoVersion.FindStringSubmatch(info.Main.Version); m != nil {
		b.time, b.commit = parseCommitTime(m[1]), m[2]
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.time":
			b.time, _ = time.Parse(time.RFC3339, s.Value)
		case "vcs.modified":
			b.modified = s.Value == "true"
		}
	}
	return b
}

// parseCommitTime returns the zero time for a text of another form.
func parseCommitTime(text string) time.Time {
	t, _ := time.Parse("20060102150405", text)
	return t
}

// String is one line: the version and the commit.
func (b build) String() string {
	text := b.version + " (commit " + cmp.Or(b.commit, "unknown")
	if !b.time.IsZero() {
		text += " of " + b.time.UTC().Format(time.DateTime) + " UTC"
	}
	if b.modified {
		text += ", with changes"
	}
	return text + ")"
}

// fullCommit matches what GitHub takes as a commit.
var fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// revision returns the commit, or else the tag of the version.
func (b build) revision() string {
	if commit := strings.TrimSuffix(b.commit, "-dirty"); fullCommit.MatchString(commit) {
		return commit
	}
	return "v" + b.version
}

// action returns the revision as a workflow names it: a commit has the version in a comment.
func (b build) action() string {
	tag := "v" + b.version
	if revision := b.revision(); revision != tag {
		return revision + " # " + tag
	}
	return tag
}

func newVersion(sys process) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the commit of this program",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(sys.stdout, "%s %s\n%s %s/%s\n", toolName, thisBuild(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
