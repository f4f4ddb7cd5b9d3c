package nix

import (
	"fmt"
	"regexp"
	"strconv"
)

// Version is a version of Nix. In JSON it is its text.
type Version struct {
	Major, Minor int
	// Text is the whole version as Nix prints it, such as "2.8.0" or "2.29.0pre20250407_abc".
	Text string
}

var versionLine = regexp.MustCompile(`^nix \((?:[^)]*)\) (([0-9]+)\.([0-9]+)\S*)`)

// ParseVersion parses what nix --version prints: "nix (Nix) 2.8.0".
func ParseVersion(line string) (Version, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return Version{}, fmt.Errorf("parse version of Nix %q: not of the form \"nix (Nix) 2.8.0\"", FirstLine(line))
	}
	major, _ := strconv.Atoi(m[2])
	minor, _ := strconv.Atoi(m[3])
	return Version{Major: major, Minor: minor, Text: m[1]}, nil
}

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// MarshalText returns the version as Nix prints it.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.Text), nil }

// UnmarshalText is the inverse of MarshalText.
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion("nix (Nix) " + string(text))
	return err
}

// Oldest is the oldest version of Nix that is supported: the one that Debian 12 packages.
var Oldest = Version{Major: 2, Minor: 8, Text: "2.8"}

// Supported returns an error for a version that is too old.
func (v Version) Supported() error {
	if v.AtLeast(Oldest.Major, Oldest.Minor) {
		return nil
	}
	return fmt.Errorf("use Nix %s: older than %s, the oldest that is supported", v.Text, Oldest.Text)
}
