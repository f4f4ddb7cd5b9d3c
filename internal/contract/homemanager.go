package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// home is a configuration with the module.
type home struct {
	Services, Targets map[string]unitSections
	SessionVariables  map[string]any
	Tmpfiles          []string
	Packages          []nix.StorePath
	Files             map[string]homeFile
	Refused           []string // messages of failed assertions
	Stranger          nix.StorePath
}

// unitSections is a unit as an attribute set: its sections, with their directives.
type unitSections map[string]map[string]any

// homeFile is a generated file, with its contents where they are known without a build.
type homeFile struct {
	Text, JSON *string
	Derivation string
}

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

// modeCheck returns the name of the checks in a mode.
func modeCheck(mode string) string {
	switch mode {
	case "both", "settings", "profiles":
		return "home-manager/config/" + mode
	case "package":
		return "home-manager/package-override"
	}
	return "home-manager/" + mode
}

// homeManager checks the module by the configurations that it makes.
func (e *evaluation) homeManager() {
	if e.HomeManager == nil || !e.evaluatesWithoutModule() {
		return
	}
	// The positions of the module's options are not known, only its file.
	before := len(e.results)
	defer func() {
		var m Position
		if a := e.answers["module/"+e.HomeManager.Module]; a != nil && json.Unmarshal(a.Value, &m) == nil {
			for i := range e.results[before:] {
				if r := &e.results[before+i]; r.Status == Fail && r.File == "" {
					r.File = m.File
				}
			}
		}
	}()
	homes := map[string]home{}
	for _, mode := range modes {
		var h *home
		check := modeCheck(mode)
		if !e.read(check, "home/"+mode, &h) {
			continue
		}
		if h == nil {
			e.skip(check, "the flake has no such module")
			continue
		}
		if len(h.Refused) > 0 {
			e.fail(check, "the module refuses its own defaults: %s", strings.Join(h.Refused, "; "))
			continue
		}
		homes[mode] = *h
	}
	e.disabled(homes)
	if h, ok := homes["headless"]; ok {
		e.suite("home-manager/headless", h, e.HomeManager.Headless)
	}
	if h, ok := homes["desktop"]; ok {
		e.suite("home-manager/desktop", h, e.HomeManager.Desktop)
	}
	e.desktopRules(homes)
	e.packageOverride(homes)
	e.config(homes)
	e.logLevels()
}

// evaluatesWithoutModule tells whether a configuration without the module evaluates. Where it does not, the module is not
// the cause, and one failure replaces all results about the module.
func (e *evaluation) evaluatesWithoutModule() bool {
	r := Result{Check: "home-manager", Status: Fail}
	var h *home
	switch a := e.answers[withoutModule]; {
	case a == nil:
		r.Reason = "the evaluation gives no answer"
	case a.Thrown:
		r.Reason = thrown(r.Check, a.why).Reason // without the position, which is not that of a fault in the flake
	case json.Unmarshal(a.Value, &h) != nil:
		r.Reason = "it has values of another type"
	case h == nil: // the flake has no such module
		return true
	case len(h.Refused) > 0:
		r.Reason = "it is refused: " + strings.Join(h.Refused, "; ")
	default:
		return true
	}
	r.Reason = "the module cannot be checked, since a configuration without it fails too: " + r.Reason
	if e.request.HomeManager != "" {
		r.Fix = "give --home-manager a release that fits the flake's nixpkgs, or leave it out"
	}
	e.add(r)
	return false
}

func (e *evaluation) disabled(homes map[string]home) {
	h, ok := homes["disabled"]
	if !ok {
		return
	}
	var found []string
	found = slices.AppendSeq(found, maps.Keys(h.Services))
	found = slices.AppendSeq(found, maps.Keys(h.Targets))
	found = slices.AppendSeq(found, maps.Keys(h.SessionVariables))
	found = slices.AppendSeq(found, maps.Keys(h.Files))
	found = append(found, h.Tmpfiles...)
	for _, p := range h.Packages {
		found = append(found, string(p))
	}
	slices.Sort(found)
	e.compare("home-manager/disabled", "the module configures something though it is not enabled", "", strings.Join(found, ", "))
}

// suite checks what the module configures in one mode.
func (e *evaluation) suite(check string, h home, s Suite) {
	e.same(check+"/targets", s.Targets, h.Targets)
	e.same(check+"/services", s.Services, h.Services)
	if lacking := missing(s.Tmpfiles, h.Tmpfiles); len(lacking) > 0 {
		e.add(Result{
			Check: check + "/tmpfiles", Status: Fail, Reason: "a rule for systemd-tmpfiles is missing",
			Wanted: strings.Join(lacking, "; "), Found: strings.Join(h.Tmpfiles, "; "),
		})
	} else {
		e.pass(check + "/tmpfiles")
	}
	e.installs(check+"/package", h, s.Package)
	for _, name := range slices.Sorted(maps.Keys(e.HomeManager.SessionVariables)) {
		e.compare(check+"/session-variables/"+name, name+" is not as required",
			e.HomeManager.SessionVariables[name], strings.Join(values(h.SessionVariables[name]), " "))
	}
	for _, name := range s.Targets {
		if unit, ok := h.Targets[name]; ok {
			at := check + "/targets/" + name
			e.group(at, func() { unit.directives().check(e.recorder, at, e.HomeManager.Targets[name]) })
		}
	}
	for _, name := range s.Services {
		if unit, ok := h.Services[name]; ok {
			e.service(check+"/services/"+name, name, unit.directives())
		}
	}
}

// installs checks that the default package of a mode is installed, and in headless mode not that of the desktop.
func (e *evaluation) installs(check string, h home, wanted matrix.Package) {
	p, ok := e.packages[wanted]
	if !ok {
		e.skip(check, "the flake has no such package")
		return
	}
	desktop, known := e.packages[e.HomeManager.Desktop.Package]
	stray := known && desktop.Output != p.Output && slices.Contains(h.Packages, desktop.Output)
	if slices.Contains(h.Packages, p.Output) && !stray {
		e.pass(check)
		return
	}
	e.add(Result{
		Check: check, Status: Fail, Reason: "the package's default is not " + string(wanted),
		Wanted: string(p.Output), Found: joined(h.Packages),
	})
}

// same checks that there are exactly these names.
func (e *evaluation) same(check string, wanted []string, found map[string]unitSections) {
	names := slices.Sorted(maps.Keys(found))
	e.compare(check, "there are others than required", strings.Join(slices.Sorted(slices.Values(wanted)), ", "), strings.Join(names, ", "))
}

func (e *evaluation) service(check, name string, d directives) {
	e.group(check, func() {
		d.check(e.recorder, check, e.HomeManager.Service.merge(e.HomeManager.Of[name]))
		if reason := e.startable(strings.Join(d["ExecStart"], " ")); reason != "" {
			e.add(Result{Check: check + "/ExecStart", Status: Fail, Reason: reason, Found: assignments("ExecStart", d["ExecStart"])})
		}
	})
}

// startable says why a command is not a program of the packages; empty where it can be one. The checks of the packages
// find whether that program was built.
func (e *evaluation) startable(command string) string {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "the service starts nothing"
	}
	object, file, err := splitStorePath(strings.TrimLeft(words[0], "-@:+!"))
	if err != nil {
		return "the service starts a program that is not in the store"
	}
	for name, p := range e.packages {
		required, known := e.Packages[name]
		if program, ok := strings.CutPrefix(file, "bin/"); known && p.Output == object && (!ok || !slices.Contains(required.Binaries, program)) {
			return fmt.Sprintf("the service starts a program that %s does not have", name)
		}
	}
	return ""
}

// desktopRules checks that a rule of the desktop is not made in headless mode.
func (e *evaluation) desktopRules(homes map[string]home) {
	h, ok := homes["headless"]
	if !ok {
		return
	}
	own := missing(e.HomeManager.Desktop.Tmpfiles, e.HomeManager.Headless.Tmpfiles)
	stray := slices.DeleteFunc(slices.Clone(h.Tmpfiles), func(rule string) bool { return !slices.Contains(own, rule) })
	e.compare("home-manager/headless/tmpfiles-of-desktop", "a rule of the desktop is made in headless mode", "", strings.Join(stray, "; "))
}

// packageOverride checks that another package can be configured.
func (e *evaluation) packageOverride(homes map[string]home) {
	h, ok := homes["package"]
	if !ok {
		return
	}
	check := modeCheck("package")
	started := false
	for _, unit := range h.Services {
		started = started || strings.Contains(strings.Join(unit.directives()["ExecStart"], " "), string(h.Stranger))
	}
	desktop := e.packages[e.HomeManager.Desktop.Package].Output
	switch {
	case !slices.Contains(h.Packages, h.Stranger), desktop != "" && slices.Contains(h.Packages, desktop):
		e.add(Result{
			Check: check, Status: Fail, Reason: "another package is configured, and not installed",
			Wanted: string(h.Stranger), Found: joined(h.Packages),
		})
	case !started:
		// Modules exist that install one package and start the programs of another, so this only warns.
		e.add(Result{
			Check: check, Status: Warn, Reason: "another package is configured and installed, and no service starts a program of it",
			Fix: "let each ExecStart take its program from cfg.package",
		})
	default:
		e.pass(check)
	}
}
