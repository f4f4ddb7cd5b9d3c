package contract

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
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

// gitPackages reads Cargo.lock.
func gitPackages(tree, file string) ([]gitPackage, error) {
	data, err := regular.Read(filepath.Join(tree, file), maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	return parseCargoLock(file, data)
}

func parseCargoLock(file string, data []byte) ([]gitPackage, error) {
	var lock struct {
		Package []struct{ Name, Version, Source string }
	}
	if _, err := toml.Decode(string(data), &lock); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			line, column := tomlfile.LineColumn(data, parse.Position.Start)
			return nil, &placedError{file, line, fmt.Errorf("parse %s:%d:%d: %s", file, line, column, parse.Message)}
		}
		return nil, fmt.Errorf("parse %s: %v", file, err)
	}
	var all []gitPackage
	at := sourceLines(string(data))
	for _, p := range lock.Package {
		if source, ok := strings.CutPrefix(p.Source, "git+"); ok {
			url, commit, _ := strings.Cut(source, "#")
			url, _, _ = strings.Cut(url, "?") // the branch or tag does not matter
			name := p.Name + "-" + p.Version
			all = append(all, gitPackage{name: name, key: p.Source, source: url, commit: commit, line: at[name+" "+p.Source]})
		}
	}
	return all, nil
}

// sourceLines returns the lines of the sources in a Cargo.lock, by "name-version source". Cargo writes one key a line.
func sourceLines(text string) map[string]int {
	lines := map[string]int{}
	var name, version string
	for i, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, " = ")
		value = strings.Trim(value, `"\r `)
		switch key {
		case "name":
			name = value
		case "version":
			version = value
		case "source":
			lines[name+"-"+version+" "+value] = i + 1
		}
	}
	return lines
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

// placedError is an error in a file of the tree.
type placedError struct {
	file string
	line int
	err  error
}

func (e *placedError) Error() string { return e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

// failed returns the result of a check that ended with an error.
func failed(check, file string, err error) Result {
	r := Result{Check: check, Status: Fail, Reason: err.Error(), File: file}
	var placed *placedError
	if errors.As(err, &placed) {
		r.File, r.Line = placed.file, placed.line
	}
	return r
}
