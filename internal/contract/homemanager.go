package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	// wrongLevel is the answer that has to be an error.
	wrongLevel = "level/" + badLevel
	// withoutModule is a configuration without the module.
	withoutModule = "home/bare"
)

// homeChecks returns the checks of the module, by the configurations that it makes.
func (e *evaluation) homeChecks() (all []check) {
	hm := e.HomeManager
	add := func(name, question string, run func(*home) []Result) {
		all = append(all, check{"home-manager/" + name, question, func() []Result {
			h, broken := e.home(question)
			if broken != nil {
				return broken
			}
			return run(h)
		}})
	}
	if hm == nil {
		return nil
	}
	add("disabled", "home/disabled", (*home).disabled)
	add("headless", "home/headless", func(h *home) []Result { return append(e.suite(h, hm.Headless), e.rulesOfDesktop(h)...) })
	add("desktop", "home/desktop", func(h *home) []Result { return e.suite(h, hm.Desktop) })
	add("package-override", "home/package", e.packageOverride)
	for _, mode := range []string{"both", "settings", "profiles"} {
		add("config/"+mode, "home/"+mode, func(h *home) []Result { return e.config(mode, h) })
	}
	if hm.ConfigFile != "" {
		add("config/none", "home/desktop", func(h *home) []Result {
			_, made := h.Files[hm.ConfigFile]
			return differs(hm.ConfigFile+" is generated although there are no settings and no profiles", "false", fmt.Sprint(made))
		})
	}
	for _, level := range hm.LogLevels {
		add("log-level/"+level, "level/"+level, func(h *home) []Result { return h.logLevel(level) })
	}
	if len(hm.LogLevels) > 0 {
		all = append(all, check{"home-manager/log-level/refused", wrongLevel, e.wrongLevel})
	}
	return all
}

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

// home returns a configuration with the module, or why there is none.
func (e *evaluation) home(question string) (*home, []Result) {
	h, broken := decode[*home](e, question)
	switch {
	case broken != nil:
		return nil, broken
	case h == nil:
		return nil, skip("the flake has no such module")
	case len(h.Refused) > 0:
		return nil, fail("the module refuses its own defaults: %s", strings.Join(h.Refused, "; "))
	}
	return h, nil
}

// homeManager runs the checks of the module.
func (e *evaluation) homeManager() (all findings) {
	if e.HomeManager == nil {
		return nil
	}
	if broken := e.withoutModule(); broken != nil {
		return named("home-manager", broken)
	}
	for _, check := range e.homeChecks() {
		all.check(check.name, check.run()...)
	}
	// The positions of the module's options are not known, only its file.
	if m, broken := decode[*Position](e, "module/"+e.HomeManager.Module); broken == nil && m != nil {
		for i, r := range all {
			if r.Status == Fail && r.File == "" {
				all[i].File = m.File
			}
		}
	}
	return all
}

// withoutModule reports whether a configuration without the module evaluates. If it does not, the module is not the
// cause, and one failure replaces all results about the module.
func (e *evaluation) withoutModule() []Result {
	h, broken := decode[*home](e, withoutModule)
	if broken == nil && h != nil && len(h.Refused) > 0 {
		broken = fail("it is refused: %s", strings.Join(h.Refused, "; "))
	}
	if broken == nil {
		return nil
	}
	// The position is left out, because it is not that of an error in the flake.
	r := Result{Reason: "the module cannot be checked, since a configuration without it fails too: " + broken[0].Reason}
	if e.request.HomeManager != "" {
		r.Fix = "give --home-manager a release that fits the flake's nixpkgs, or leave it out"
	}
	return []Result{r}
}

// disabled checks that the module configures nothing.
func (h *home) disabled() []Result {
	found := slices.Collect(maps.Keys(h.Services))
	found = slices.AppendSeq(found, maps.Keys(h.Targets))
	found = slices.AppendSeq(found, maps.Keys(h.SessionVariables))
	found = slices.AppendSeq(found, maps.Keys(h.Files))
	found = append(found, h.Tmpfiles...)
	for _, p := range h.Packages {
		found = append(found, string(p))
	}
	slices.Sort(found)
	return differs("the module configures something though it is not enabled", "", joined(found))
}

// suite checks what the module configures in one mode.
func (e *evaluation) suite(h *home, s Suite) []Result {
	same := func(wanted []string, found map[string]unitSections) []Result {
		return differs("there are others than required",
			joined(slices.Sorted(slices.Values(wanted))), joined(slices.Sorted(maps.Keys(found))))
	}
	var rules []Result
	if lacking := missing(s.Tmpfiles, h.Tmpfiles); len(lacking) > 0 {
		rules = differs("a rule for systemd-tmpfiles is missing", strings.Join(lacking, "; "), strings.Join(h.Tmpfiles, "; "))
	}
	all := slices.Concat(below("targets", same(s.Targets, h.Targets)...), below("services", same(s.Services, h.Services)...),
		below("tmpfiles", rules...), below("package", e.installs(h, s.Package)...))
	for _, name := range slices.Sorted(maps.Keys(e.HomeManager.SessionVariables)) {
		all = append(all, below("session-variables/"+name, differs(name+" is not as required",
			e.HomeManager.SessionVariables[name], strings.Join(values(h.SessionVariables[name]), " "))...)...)
	}
	for _, name := range s.Targets {
		if unit, ok := h.Targets[name]; ok {
			all = append(all, below("targets/"+name, unit.directives().check(e.HomeManager.Targets[name])...)...)
		}
	}
	for _, name := range s.Services {
		if unit, ok := h.Services[name]; ok {
			d := unit.directives()
			broken := d.check(e.HomeManager.Service.merge(e.HomeManager.Of[name]))
			all = append(all, below("services/"+name, append(broken, e.startable(d["ExecStart"])...)...)...)
		}
	}
	return all
}

// rulesOfDesktop checks that no rule of the desktop is made in headless mode.
func (e *evaluation) rulesOfDesktop(h *home) []Result {
	desktop := missing(e.HomeManager.Desktop.Tmpfiles, e.HomeManager.Headless.Tmpfiles)
	stray := slices.DeleteFunc(slices.Clone(h.Tmpfiles), func(rule string) bool { return !slices.Contains(desktop, rule) })
	return below("tmpfiles-of-desktop", differs("a rule of the desktop is made in headless mode", "", strings.Join(stray, "; "))...)
}

// installs checks that the default package of a mode is installed, and in headless mode not that of the desktop.
func (e *evaluation) installs(h *home, wanted matrix.Package) []Result {
	p, ok := e.packages[wanted]
	if !ok {
		return skip("the flake has no such package")
	}
	desktop, known := e.packages[e.HomeManager.Desktop.Package]
	stray := known && desktop.Output != p.Output && slices.Contains(h.Packages, desktop.Output)
	if slices.Contains(h.Packages, p.Output) && !stray {
		return nil
	}
	return differs("the package's default is not "+string(wanted), string(p.Output), joined(h.Packages))
}

// startable checks that a command is not a program that the packages lack. The checks of the packages find whether the
// program was built.
func (e *evaluation) startable(command []string) []Result {
	broken := func(format string, args ...any) []Result {
		return []Result{{Check: "/ExecStart", Reason: fmt.Sprintf(format, args...), Found: assignments("ExecStart", command)}}
	}
	program := programOf(strings.Join(command, " "))
	if program == "" {
		return broken("the service starts nothing")
	}
	object, file, err := nix.StoreDir.ParsePath(program)
	if err != nil {
		return broken("the service starts a program that is not in the store")
	}
	for name, p := range e.packages {
		required, known := e.Packages[name]
		if program, ok := strings.CutPrefix(file, "bin/"); known && p.Output == object && (!ok || !slices.Contains(required.Binaries, program)) {
			return broken("the service starts a program that %s does not have", name)
		}
	}
	return nil
}

// packageOverride checks that another package can be configured.
func (e *evaluation) packageOverride(h *home) []Result {
	started := false
	for _, unit := range h.Services {
		started = started || strings.Contains(strings.Join(unit.directives()["ExecStart"], " "), string(h.Stranger))
	}
	desktop := e.packages[e.HomeManager.Desktop.Package].Output
	switch {
	case !slices.Contains(h.Packages, h.Stranger), desktop != "" && slices.Contains(h.Packages, desktop):
		return differs("another package is configured, and not installed", string(h.Stranger), joined(h.Packages))
	case !started:
		// Modules exist that install one package and start the programs of another, so this only warns.
		return []Result{{
			Status: Warn, Reason: "another package is configured and installed, and no service starts a program of it",
			Fix: "let each ExecStart take its program from cfg.package",
		}}
	}
	return nil
}

// logLevel checks that the level reaches every service.
func (h *home) logLevel(level string) (broken []Result) {
	wanted := "RUST_LOG=" + level
	for _, name := range slices.Sorted(maps.Keys(h.Services)) {
		found := h.Services[name].directives()["Environment"]
		if !slices.Contains(strings.Fields(strings.Join(found, " ")), wanted) {
			broken = append(broken, Result{
				Check: "/" + name, Reason: "the log level does not reach the service",
				Wanted: "Environment=" + wanted, Found: assignments("Environment", found),
			})
		}
	}
	return broken
}

// wrongLevel checks that a level that does not exist is refused.
func (e *evaluation) wrongLevel() []Result {
	switch a, good := e.answers[wrongLevel], e.answers["level/"+e.HomeManager.LogLevels[0]]; {
	case a == nil || good == nil || good.Thrown:
		return fail("the evaluation gives no answer: a good level is refused too")
	case a.Thrown:
		return nil
	case string(a.Value) == "null":
		return skip("the flake has no such module")
	}
	return fail("logLevel = %q is accepted", badLevel)
}
