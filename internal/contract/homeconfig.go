package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// homeFile is a generated file, with its contents where they are known without a build.
type homeFile struct {
	Text, JSON *string
	Derivation string
}

// config checks the generated configuration file in a mode with settings, profiles or both.
func (e *evaluation) config(mode string, h *home) []Result {
	file := e.HomeManager.ConfigFile
	generated, ok := h.Files[file]
	switch {
	case file == "":
		return skip("the contract names no configuration file")
	case !ok:
		return fail("there are %s, and no %s", strings.Replace(mode, "both", "settings and profiles", 1), file)
	case generated.Derivation != "":
		return skip("%s is the output of a build, %s, whose contents are not known before", file, generated.Derivation)
	}
	tree, err := generated.parse()
	if err != nil {
		return fail("parse %s: %v", file, err)
	}
	all := map[string]any{}
	if mode != "settings" {
		maps.Copy(all, profiles)
	}
	if mode != "profiles" {
		all["default"] = map[string]any{"wm": settings}
	}
	wanted, found := map[string]string{}, map[string]string{}
	flatten("", map[string]any{"config_version": e.HomeManager.ConfigVersion, "profiles": all}, wanted)
	flatten("", tree, found)
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if wanted[key] != found[key] {
			return differs(key+" is not as configured", wanted[key], found[key])
		}
	}
	return nil
}

func (f homeFile) parse() (tree map[string]any, err error) {
	switch {
	case f.Text != nil:
		err = toml.Unmarshal([]byte(*f.Text), &tree)
	case f.JSON != nil:
		err = json.Unmarshal([]byte(*f.JSON), &tree)
	default:
		err = fmt.Errorf("it has no contents")
	}
	return tree, err
}

// flatten adds the values of a table, by their keys with dots. As in TOML, a name with dots is quoted.
func flatten(prefix string, table map[string]any, into map[string]string) {
	for name, value := range table {
		if strings.Contains(name, ".") {
			name = strconv.Quote(name)
		}
		if inner, ok := value.(map[string]any); ok {
			flatten(prefix+name+".", inner, into)
		} else {
			into[prefix+name] = fmt.Sprint(value)
		}
	}
}

// unitSections is a unit as an attribute set: its sections, with their directives.
type unitSections map[string]map[string]any

// directives returns those of all sections together.
func (u unitSections) directives() directives {
	d := directives{}
	for _, section := range u {
		for name, value := range section {
			d[name] = append(d[name], values(value)...)
		}
	}
	return d
}

// values returns the value of a directive in Nix as systemd will read it.
func values(value any) []string {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		found := []string{}
		for _, e := range value {
			found = append(found, values(e)...)
		}
		return found
	default:
		return []string{fmt.Sprint(value)}
	}
}
