package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
)

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
