package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// lockFile is a flake.lock, with its text to find lines in.
type lockFile struct {
	*flake.Lock
	text string
}

// check holds flake.lock to what others can fetch: every input locked, none dirty, none that is on this machine alone.
func (l *Lock) check(tree string, now time.Time) []Result {
	const file = "flake.lock"
	lock, err := readLock(tree, file)
	if errors.Is(err, fs.ErrNotExist) {
		return l.withoutLock(tree)
	}
	if err != nil {
		return []Result{failed("lock", file, err)}
	}
	var unlocked, dirty, local []Result
	for _, name := range slices.Sorted(maps.Keys(lock.Nodes)) {
		if name == lock.Root {
			continue
		}
		ref := lock.Nodes[name].Locked
		r := Result{File: file, Line: lock.line(name), Wanted: "a commit or a hash"}
		switch {
		case !ref.IsLocked():
			r.Reason, r.Fix = fmt.Sprintf("input %s is not locked", name), "nix flake lock --update-input "+name
			unlocked = append(unlocked, r)
		case ref.DirtyRev != "" || ref.Type == "git" && ref.Rev == "":
			r.Reason, r.Found = fmt.Sprintf("input %s is locked to a tree with uncommitted changes", name), ref.DirtyRev
			r.Fix = "commit there, and then: nix flake lock --update-input " + name
			dirty = append(dirty, r)
		case lock.isLocal(name):
			r.Reason, r.Found = fmt.Sprintf("input %s is on this machine alone", name), ref.URL+ref.Path
			r.Fix = "give it a URL that others can fetch, or a relative path inside the tree"
			local = append(local, r)
		}
	}
	return []Result{
		passUnless("lock/locked", append(unlocked, lock.dangling()...)),
		passUnless("lock/clean", dirty), passUnless("lock/fetchable", local), l.age(lock, now),
	}
}

// withoutLock is for a tree that has no flake.lock: right for a flake without inputs alone.
func (l *Lock) withoutLock(tree string) []Result {
	data, err := regular.Read(filepath.Join(tree, "flake.nix"), maxFile)
	if err != nil {
		return []Result{failed("lock", "flake.nix", fmt.Errorf("read flake.nix: %w", cause(err)))}
	}
	if line := inputsLine(string(data)); line > 0 {
		return []Result{{
			Check: "lock/locked", Status: Fail, Reason: "the flake has inputs and no flake.lock", File: "flake.nix", Line: line,
			Wanted: "flake.lock", Fix: "nix flake lock, and commit the result",
		}}
	}
	return []Result{{Check: "lock", Status: Skip, Reason: "the flake has no inputs"}}
}

// inputsLine returns the line of the first inputs of a flake.nix, 0 where there are none.
func inputsLine(text string) (line int) {
	nixtext.Walk(nixtext.Scan(text), func(b nixtext.Binding) {
		if line == 0 && b.Path[0] == "inputs" {
			line = b.Line
		}
	})
	return line
}

// dangling tells the inputs that a node refers to and that have no node.
func (f *lockFile) dangling() (broken []Result) {
	for _, name := range slices.Sorted(maps.Keys(f.Nodes)) {
		inputs := f.Nodes[name].Inputs
		for _, input := range slices.Sorted(maps.Keys(inputs)) {
			node := inputs[input].Node
			if node == "" {
				continue // it follows another input
			}
			if _, ok := f.Nodes[node]; !ok {
				broken = append(broken, Result{
					Reason: fmt.Sprintf("input %s of %s is not locked", input, name), File: "flake.lock", Line: f.line(name),
					Wanted: "a node " + node, Fix: "nix flake lock",
				})
			}
		}
	}
	return broken
}

// isLocal says that nobody else can fetch the input. A relative path that stays inside the tree travels with it.
func (f *lockFile) isLocal(name string) bool {
	ref := f.Nodes[name].Locked
	if ref.IsRelative() {
		at := f.Within(name)
		return at == ".." || strings.HasPrefix(at, "../")
	}
	return ref.Type == "path" || strings.HasPrefix(ref.URL, "file:") || strings.HasPrefix(ref.URL, "git+file:") || strings.HasPrefix(ref.URL, "/")
}

// age reports how old nixpkgs is, as its own commits are dated.
func (l *Lock) age(f *lockFile, now time.Time) Result {
	r := Result{Check: "lock/age", Status: Skip, File: "flake.lock"}
	if l.Nixpkgs == "" {
		r.Reason = "the contract names no nixpkgs"
		return r
	}
	name := f.Nodes[f.Root].Inputs[l.Nixpkgs].Node
	if f.Nodes[name].Locked == nil {
		r.Reason = fmt.Sprintf("no input is called %s", l.Nixpkgs)
		return r
	}
	ref := f.Nodes[name].Locked
	if ref.Type == "path" {
		r.Reason = fmt.Sprintf("%s is part of the tree", l.Nixpkgs)
		return r
	}
	r.Line = f.line(name)
	days := int(now.Sub(time.Unix(ref.LastModified, 0)).Hours() / 24)
	r.Status, r.Reason, r.Found = Pass, fmt.Sprintf("%s is %d days old", l.Nixpkgs, days), fmt.Sprintf("%d days", days)
	if l.MaxAgeDays > 0 && days > l.MaxAgeDays {
		r.Status, r.Wanted, r.Fix = Warn, fmt.Sprintf("at most %d days", l.MaxAgeDays), "nix flake lock --update-input "+l.Nixpkgs
	}
	return r
}

func readLock(tree, file string) (*lockFile, error) {
	data, err := regular.Read(filepath.Join(tree, file), maxFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, cause(err))
	}
	lock, err := flake.ParseLock(data)
	if err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line, column := lineColumn(data, int(syntax.Offset))
			return nil, &placedError{file, line, fmt.Errorf("parse %s:%d:%d: %v", file, line, column, syntax)}
		}
		return nil, err
	}
	return &lockFile{lock, string(data)}, nil
}

// line returns the line of a node. Nix writes nothing else that has its name before a brace, but for a node called "inputs".
func (f *lockFile) line(node string) int {
	for i, line := range strings.Split(f.text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), fmt.Sprintf("%q: {", node)) {
			return i + 1
		}
	}
	return 0
}
