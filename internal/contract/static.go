package contract

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
)

// Static checks the files of a flake's tree. It needs no Nix and takes milliseconds.
func (c *Contract) Static(tree string, now time.Time) []Result {
	var all findings
	if c.Hashes != nil {
		all.check("hashes", c.Hashes.check(tree)...)
	}
	if c.NixConfig != nil {
		all.check("nix-config", c.NixConfig.check(tree)...)
	}
	if c.Lock != nil {
		all.check("lock", c.Lock.check(tree, now)...)
	}
	return c.Finish(all, "", nil)
}

// failure returns the failure of a check that ended with an error in a file of the tree.
func failure(file string, err error) []Result {
	r := Result{Reason: err.Error(), File: file}
	if syntax, ok := errors.AsType[*tomlfile.SyntaxError](err); ok {
		r.Line = syntax.Line
	}
	if syntax, ok := errors.AsType[*flake.SyntaxError](err); ok {
		r.Line = syntax.Line
	}
	return []Result{r}
}

// check compares the flake's nixConfig with the cache for pushes. Nix accepts only literals there, so that it can be read
// without Nix, and with its lines.
func (n *NixConfig) check(tree string) []Result {
	text, err := readFile(tree, "flake.nix")
	if err != nil {
		return failure("flake.nix", err)
	}
	config := readNixConfig(string(text))
	return append(below("substituters", config.lacks("substituters", n.Substituters)...),
		below("keys", config.lacks("trusted-public-keys", n.Keys)...)...)
}

// ReportedKeys compares the keys in the flake with those that the cache reports. It calls ask only if the contract has
// keys. An error of ask is not a fault of the flake.
func (c *Contract) ReportedKeys(ask func() ([]string, error)) []Result {
	if c.NixConfig == nil {
		return nil
	}
	var broken []Result
	reported, err := ask()
	if err != nil {
		broken = skip("%v", err)
	} else if lacking := missing(c.NixConfig.Keys, reported); len(lacking) > 0 {
		broken = []Result{{
			Reason: "the cache does not sign with " + lacking[0] + ": consumers would refuse what is pushed",
			Wanted: lacking[0], Found: strings.Join(reported, " "), File: "flake.nix",
			Fix: "add the key that the cache reports to nixConfig.extra-trusted-public-keys and to the contract",
		}}
	}
	return named("nix-config/reported-keys", broken)
}

// nixConfig has the settings of a flake, and their lines.
type nixConfig struct {
	line     int // of nixConfig itself; 1 where there is none
	settings map[string]setting
}

type setting struct {
	values []string
	line   int
}

// lacks returns a failure where a setting, and the one that extends it, do not have all wanted values.
func (c nixConfig) lacks(name string, wanted []string) []Result {
	extra, plain := c.settings["extra-"+name], c.settings[name]
	found := slices.Concat(extra.values, plain.values)
	lacking := missing(wanted, found)
	if len(lacking) == 0 {
		return nil
	}
	return []Result{{
		File: "flake.nix", Line: cmp.Or(extra.line, plain.line, c.line),
		Reason: fmt.Sprintf("extra-%s lacks %s: consumers would not find what is pushed", name, strings.Join(lacking, " ")),
		Wanted: strings.Join(wanted, " "), Found: strings.Join(found, " "),
		Fix: fmt.Sprintf("nixConfig.extra-%s = [ %q ];", name, strings.Join(lacking, `" "`)),
	}}
}

// readNixConfig finds nixConfig = { … } and nixConfig.NAME = …; in a flake.nix.
func readNixConfig(text string) nixConfig {
	c := nixConfig{line: 1, settings: map[string]setting{}}
	nixtext.Parse(text).Walk(func(b nixtext.Binding) {
		switch {
		case b.Path[0] != "nixConfig":
		case len(b.Path) == 1:
			c.line = b.Line
		default:
			c.settings[b.Path[1]] = setting{strings.Fields(strings.Join(b.Value.Strings(), " ")), b.Line}
		}
	})
	return c
}

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
		return []Result{{Status: Skip, Reason: l.Nixpkgs + " is part of the tree", File: "flake.lock"}}
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
