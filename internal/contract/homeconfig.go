package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// config checks the generated configuration file.
func (e *evaluation) config(homes map[string]home) {
	file := e.HomeManager.ConfigFile
	if file == "" {
		return
	}
	for _, mode := range []string{"both", "settings", "profiles"} {
		h, ok := homes[mode]
		if !ok {
			continue
		}
		check := modeCheck(mode)
		generated, ok := h.Files[file]
		if !ok {
			e.fail(check, "there are %s, and no %s", strings.Replace(mode, "both", "settings and profiles", 1), file)
			continue
		}
		if generated.Derivation != "" {
			e.skip(check, "%s is the output of a build, %s, whose contents are not known before", file, generated.Derivation)
			continue
		}
		found, err := generated.parse()
		if err != nil {
			e.fail(check, "parse %s: %v", file, err)
			continue
		}
		e.contains(check, "", e.wantedConfig(mode), found)
	}
	if h, ok := homes["desktop"]; ok {
		_, made := h.Files[file]
		e.compare("home-manager/config/none", file+" is generated although there are no settings and no profiles", "false", fmt.Sprint(made))
	}
}

// wantedConfig returns the required configuration in a mode.
func (e *evaluation) wantedConfig(mode string) map[string]any {
	all := map[string]any{}
	if mode != "settings" {
		maps.Copy(all, profiles)
	}
	if mode != "profiles" {
		all["default"] = map[string]any{"wm": settings}
	}
	return map[string]any{"config_version": e.HomeManager.ConfigVersion, "profiles": all}
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

// contains reports the first wanted value that is not found, or a pass.
func (e *evaluation) contains(check, at string, wanted, found map[string]any) {
	if key, want, got := differ(at, wanted, found); key != "" {
		e.add(Result{Check: check, Status: Fail, Reason: key + " is not as configured", Wanted: want, Found: got})
		return
	}
	e.pass(check)
}

// differ returns the first key, in order, whose value is not the wanted one.
func differ(at string, wanted, found map[string]any) (key, want, got string) {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		key := strings.TrimPrefix(at+"."+name, ".")
		table, ok := wanted[name].(map[string]any)
		if ok {
			inner, _ := found[name].(map[string]any)
			if key, want, got := differ(key, table, inner); key != "" {
				return key, want, got
			}
			continue
		}
		if want, got := fmt.Sprint(wanted[name]), fmt.Sprint(found[name]); want != got {
			return key, want, got
		}
	}
	return "", "", ""
}

// logLevels checks that each level reaches every service, and that another level is refused.
func (e *evaluation) logLevels() {
	for _, level := range e.HomeManager.LogLevels {
		check := "home-manager/log-level/" + level
		var h *home
		if !e.read(check, "level/"+level, &h) {
			continue
		}
		if h == nil {
			e.skip(check, "the flake has no such module")
			continue
		}
		wanted := "RUST_LOG=" + level
		e.group(check, func() {
			for _, name := range slices.Sorted(maps.Keys(h.Services)) {
				if found := h.Services[name].directives()["Environment"]; !slices.Contains(strings.Fields(strings.Join(found, " ")), wanted) {
					e.add(Result{
						Check: check + "/" + name, Status: Fail, Reason: "the log level does not reach the service",
						Wanted: "Environment=" + wanted, Found: assignments("Environment", found),
					})
				}
			}
		})
	}
	if len(e.HomeManager.LogLevels) == 0 {
		return
	}
	const check = "home-manager/log-level/refused"
	switch a, good := e.answers[wrongLevel], e.answers["level/"+e.HomeManager.LogLevels[0]]; {
	case a == nil || good == nil || good.Thrown:
		e.fail(check, "the evaluation gives no answer: a good level is refused too")
	case a.Thrown:
		e.pass(check)
	case string(a.Value) == "null":
		e.skip(check, "the flake has no such module")
	default:
		e.fail(check, "logLevel = %q is accepted", badLevel)
	}
}
