package contract

import (
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
)

// gitPackage is a package of Cargo.lock that comes from a git repository.
type gitPackage struct {
	// name is "name-version", as in outputHashes.
	name string
	// key is the source as Cargo.lock has it. Crane uses it as a name.
	key string
	// source is the repository, for messages.
	source string
	// commit identifies a source in nixpkgs: packages of the same commit share a hash.
	commit string
	line   int // of the source in Cargo.lock
}

// parseCargoLock returns the packages that come from git.
func parseCargoLock(file string, data []byte) (all []gitPackage, err error) {
	var lock struct {
		Package []struct{ Name, Version, Source string }
	}
	if err := tomlfile.Unmarshal(file, data, &lock); err != nil {
		return nil, err
	}
	var lines []int // of the sources, in order: Cargo writes one key a line
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "source = ") {
			lines = append(lines, i+1)
		}
	}
	for _, p := range lock.Package {
		if p.Source == "" {
			continue
		}
		line := 0
		if len(lines) > 0 {
			line, lines = lines[0], lines[1:]
		}
		if source, ok := strings.CutPrefix(p.Source, "git+"); ok {
			url, commit, _ := strings.Cut(source, "#")
			url, _, _ = strings.Cut(url, "?") // the branch or tag does not matter
			all = append(all, gitPackage{name: p.Name + "-" + p.Version, key: p.Source, source: url, commit: commit, line: line})
		}
	}
	return all, nil
}

// packageNamed returns the package with that name in outputHashes, or nil.
func packageNamed(packages []gitPackage, name string) *gitPackage {
	for i, p := range packages {
		if p.name == name || p.key == name {
			return &packages[i]
		}
	}
	return nil
}
