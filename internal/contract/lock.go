package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
)

// check checks that others can fetch the inputs: each is locked, none is dirty, none is only on this machine.
func (l *Lock) check(tree string, now time.Time) []Result {
	const file = "flake.lock"
	lock, err := flake.ReadLock(tree)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return withoutLock(tree)
	case err != nil:
		return failure(file, err)
	}
	var unlocked, dirty, local []Result
	for _, name := range slices.Sorted(maps.Keys(lock.Nodes)) {
		ref, r := lock.Nodes[name].Locked, Result{File: file, Line: lock.Line(name), Wanted: "a commit or a hash"}
		switch {
		case name == lock.Root:
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
		inputs := lock.Nodes[name].Inputs
		for _, input := range slices.Sorted(maps.Keys(inputs)) {
			edge := inputs[input]
			if _, ok := lock.Nodes[edge.Node]; !ok && edge.Node != "" { // otherwise it follows another input
				unlocked = append(unlocked, Result{
					Reason: fmt.Sprintf("input %s of %s is not locked", input, name), File: file, Line: lock.Line(name),
					Wanted: "a node " + edge.Node, Fix: "nix flake lock",
				})
			}
		}
	}
	return slices.Concat(below("locked", unlocked...), below("clean", dirty...), below("fetchable", local...), below("age", l.age(lock, now)...))
}

// withoutLock checks a tree that has no flake.lock, which is right only for a flake without inputs.
func withoutLock(tree string) []Result {
	text, err := readFile(tree, "flake.nix")
	switch line := inputsLine(string(text)); {
	case err != nil:
		return failure("flake.nix", err)
	case line > 0:
		return below("locked", Result{
			Reason: "the flake has inputs and no flake.lock", File: "flake.nix", Line: line,
			Wanted: "flake.lock", Fix: "nix flake lock, and commit the result",
		})
	}
	return skip("the flake has no inputs")
}

// inputsLine returns the line of the first inputs of a flake.nix, 0 where there are none.
func inputsLine(text string) (line int) {
	nixtext.Parse(text).Walk(func(b nixtext.Binding) {
		if line == 0 && b.Path[0] == "inputs" {
			line = b.Line
		}
	})
	return line
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
func (l *Lock) age(lock *flake.Lock, now time.Time) []Result {
	name := lock.Nodes[lock.Root].Inputs[l.Nixpkgs].Node
	ref := lock.Nodes[name].Locked
	switch {
	case l.Nixpkgs == "":
		return skip("the contract names no nixpkgs")
	case ref == nil:
		return skip("no input is called %s", l.Nixpkgs)
	case ref.Kind == flake.KindPath:
		return skip("%s is part of the tree", l.Nixpkgs)
	}
	days := int(now.Sub(time.Unix(ref.LastModified, 0)).Hours() / 24)
	r := Result{
		Status: Pass, Reason: fmt.Sprintf("%s is %d days old", l.Nixpkgs, days), Found: fmt.Sprintf("%d days", days),
		File: "flake.lock", Line: lock.Line(name),
	}
	if l.MaxAgeDays > 0 && days > l.MaxAgeDays {
		r.Status, r.Wanted, r.Fix = Warn, fmt.Sprintf("at most %d days", l.MaxAgeDays), "nix flake lock --update-input "+l.Nixpkgs
	}
	return []Result{r}
}
