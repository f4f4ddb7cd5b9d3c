package contract

import (
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

// check checks that others can fetch the inputs: each is locked, none is dirty, none is only on this machine.
func (l *Lock) check(tree string, now time.Time) []Result {
	const file = "flake.lock"
	lock, err := flake.ReadLock(tree)
	if errors.Is(err, fs.ErrNotExist) {
		return l.withoutLock(tree)
	}
	if err != nil {
		r := failed("lock", file, err)
		if syntax, ok := errors.AsType[*flake.SyntaxError](err); ok {
			r.Line = syntax.Line
		}
		return []Result{r}
	}
	var unlocked, dirty, local []Result
	for _, name := range slices.Sorted(maps.Keys(lock.Nodes)) {
		if name == lock.Root {
			continue
		}
		ref := lock.Nodes[name].Locked
		r := Result{File: file, Line: lock.Line(name), Wanted: "a commit or a hash"}
		switch {
		case !ref.IsLocked():
			r.Reason, r.Fix = fmt.Sprintf("input %s is not locked", name), "nix flake lock --update-input "+name
			unlocked = append(unlocked, r)
		case ref.DirtyRev != "" || ref.Kind == flake.KindGit && ref.Rev == "":
			r.Reason, r.Found = fmt.Sprintf("input %s is locked to a tree with uncommitted changes", name), ref.DirtyRev
			r.Fix = "commit there, and then: nix flake lock --update-input " + name
			dirty = append(dirty, r)
		case isLocal(lock, name):
			r.Reason, r.Found = fmt.Sprintf("input %s is only on this machine", name), ref.URL+ref.Path
			r.Fix = "give it a URL that others can fetch, or a relative path inside the tree"
			local = append(local, r)
		}
	}
	return []Result{
		passUnless("lock/locked", append(unlocked, dangling(lock)...)),
		passUnless("lock/clean", dirty), passUnless("lock/fetchable", local), l.age(lock, now),
	}
}

// withoutLock checks a tree that has no flake.lock, which is right only for a flake without inputs.
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

// dangling returns results for inputs without a node.
func dangling(lock *flake.Lock) (broken []Result) {
	for _, name := range slices.Sorted(maps.Keys(lock.Nodes)) {
		inputs := lock.Nodes[name].Inputs
		for _, input := range slices.Sorted(maps.Keys(inputs)) {
			node := inputs[input].Node
			if node == "" {
				continue // it follows another input
			}
			if _, ok := lock.Nodes[node]; !ok {
				broken = append(broken, Result{
					Reason: fmt.Sprintf("input %s of %s is not locked", input, name), File: "flake.lock", Line: lock.Line(name),
					Wanted: "a node " + node, Fix: "nix flake lock",
				})
			}
		}
	}
	return broken
}

// isLocal says whether the input is only on this machine. A relative path inside the tree is part of the tree.
func isLocal(lock *flake.Lock, name string) bool {
	ref := lock.Nodes[name].Locked
	if ref.IsRelative() {
		at := lock.Within(name)
		return at == ".." || strings.HasPrefix(at, "../")
	}
	return ref.IsLocal()
}

// age reports the age of nixpkgs, by the time of its commit.
func (l *Lock) age(lock *flake.Lock, now time.Time) Result {
	r := Result{Check: "lock/age", Status: Skip, File: "flake.lock"}
	if l.Nixpkgs == "" {
		r.Reason = "the contract names no nixpkgs"
		return r
	}
	name := lock.Nodes[lock.Root].Inputs[l.Nixpkgs].Node
	if lock.Nodes[name].Locked == nil {
		r.Reason = fmt.Sprintf("no input is called %s", l.Nixpkgs)
		return r
	}
	ref := lock.Nodes[name].Locked
	if ref.Kind == flake.KindPath {
		r.Reason = fmt.Sprintf("%s is part of the tree", l.Nixpkgs)
		return r
	}
	r.Line = lock.Line(name)
	days := int(now.Sub(time.Unix(ref.LastModified, 0)).Hours() / 24)
	r.Status, r.Reason, r.Found = Pass, fmt.Sprintf("%s is %d days old", l.Nixpkgs, days), fmt.Sprintf("%d days", days)
	if l.MaxAgeDays > 0 && days > l.MaxAgeDays {
		r.Status, r.Wanted, r.Fix = Warn, fmt.Sprintf("at most %d days", l.MaxAgeDays), "nix flake lock --update-input "+l.Nixpkgs
	}
	return r
}
