package contract

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// check compares the flake's nixConfig with the cache for pushes. Nix accepts only literals there, so that it can be read
// without Nix, and with its lines.
func (n *NixConfig) check(tree string) []Result {
	const file = "flake.nix"
	data, err := regular.Read(filepath.Join(tree, file), maxFile)
	if err != nil {
		return []Result{failed("nix-config", file, fmt.Errorf("read %s: %w", file, cause(err)))}
	}
	config := readNixConfig(string(data))
	return []Result{
		config.has("nix-config/substituters", n.Substituters, "substituters"),
		config.has("nix-config/keys", n.Keys, "trusted-public-keys"),
	}
}

// ReportedKeys compares the keys in the flake with those that the cache reports. It calls ask only if the contract has
// keys. An error of ask is not a fault of the flake.
func (c *Contract) ReportedKeys(ask func() ([]string, error)) []Result {
	const check = "nix-config/reported-keys"
	if c.NixConfig == nil {
		return nil
	}
	reported, err := ask()
	if err != nil {
		return []Result{{Check: check, Status: Skip, Reason: err.Error()}}
	}
	for _, key := range c.NixConfig.Keys {
		if !slices.Contains(reported, key) {
			return []Result{{
				Check: check, Status: Fail, Reason: "the cache does not sign with " + key + ": consumers would refuse what is pushed",
				Wanted: key, Found: strings.Join(reported, " "), File: "flake.nix",
				Fix: "add the key that the cache reports to nixConfig.extra-trusted-public-keys and to the contract",
			}}
		}
	}
	return []Result{{Check: check, Status: Pass}}
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

// has checks that a setting, or the one that extends it, has all wanted values.
func (c nixConfig) has(check string, wanted []string, name string) Result {
	extra, plain := c.settings["extra-"+name], c.settings[name]
	found := slices.Concat(extra.values, plain.values)
	lacking := missing(wanted, found)
	if len(lacking) == 0 {
		return Result{Check: check, Status: Pass}
	}
	line := c.line
	for _, s := range []setting{plain, extra} {
		if s.line > 0 {
			line = s.line
		}
	}
	return Result{
		Check: check, Status: Fail, File: "flake.nix", Line: line,
		Reason: fmt.Sprintf("extra-%s lacks %s: consumers would not find what is pushed", name, strings.Join(lacking, " ")),
		Wanted: strings.Join(wanted, " "), Found: strings.Join(found, " "),
		Fix: fmt.Sprintf("nixConfig.extra-%s = [ %q ];", name, strings.Join(lacking, `" "`)),
	}
}

// readNixConfig finds nixConfig = { … } and nixConfig.NAME = …; in a flake.nix.
func readNixConfig(text string) nixConfig {
	c := nixConfig{line: 1, settings: map[string]setting{}}
	nixtext.Walk(nixtext.Scan(text), func(b nixtext.Binding) {
		switch {
		case b.Path[0] != "nixConfig":
		case len(b.Path) == 1:
			c.line = b.Line
		default:
			s := setting{line: b.Line}
			for _, t := range b.Value {
				if t.Kind == nixtext.String {
					s.values = append(s.values, strings.Fields(t.Text)...)
				}
			}
			c.settings[b.Path[1]] = s
		}
	})
	return c
}
