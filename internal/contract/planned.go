package contract

import (
	"maps"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Planned are the checks of one system, each by the name that its results have or begin with.
func (c *Contract) Planned(matrix.System) []string {
	var names []string
	for _, p := range c.evaluatedPackages() {
		names = append(names, "outputs/packages/"+string(p))
	}
	if c.Outputs.Overlay != "" {
		names = append(names, "outputs/overlays/"+c.Outputs.Overlay)
	}
	for _, m := range c.Outputs.Modules {
		names = append(names, "outputs/homeManagerModules/"+m)
	}
	for _, s := range c.Outputs.DevShells {
		names = append(names, "outputs/devShells/"+s)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		names = append(names, c.Packages[name].planned(name)...)
	}
	if c.Units != nil && c.Units.Verify {
		names = append(names, "units/verify")
	}
	if c.SourceFilter != nil {
		for _, p := range c.SourceFilter.Packages {
			names = append(names, "source-filter/"+string(p))
		}
	}
	if c.PreCheck != nil {
		for _, p := range c.PreCheck.Packages {
			names = append(names, "pre-check/"+string(p))
		}
		names = append(names, "pre-check/outside")
	}
	if hm := c.HomeManager; hm != nil {
		for _, mode := range modes {
			if check := modeCheck(mode); hm.ConfigFile != "" || !strings.HasPrefix(check, "home-manager/config/") {
				names = append(names, check)
			}
		}
		for _, level := range hm.LogLevels {
			names = append(names, "home-manager/log-level/"+level)
		}
		if len(hm.LogLevels) > 0 {
			names = append(names, "home-manager/log-level/refused")
		}
	}
	return names
}

// planned are the checks of a package, where it is called that.
func (p Package) planned(name matrix.Package) []string {
	check := "package/" + string(name)
	var names []string
	for _, b := range p.Binaries {
		names = append(names, check+"/binaries/"+b)
	}
	for _, f := range p.Files {
		names = append(names, check+"/files/"+f)
	}
	for _, u := range p.Units {
		names = append(names, "units/"+string(name)+"/"+u)
	}
	if p.NoDefaultFeatures {
		names = append(names, check+"/no-default-features")
	}
	if len(p.NotInClosure) > 0 {
		names = append(names, check+"/closure")
	}
	for _, w := range p.Wrapped {
		names = append(names, check+"/wrapped/"+w.Binary)
	}
	for _, other := range p.Propagates {
		names = append(names, check+"/propagates/"+string(other))
	}
	if len(p.OnPath) > 0 {
		names = append(names, check+"/on-path")
	}
	return names
}
