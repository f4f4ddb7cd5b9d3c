package reproduce

import (
	"fmt"
	"maps"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// conditions returns the engines, versions and settings of the two runs that differ.
func conditions(a, b *run.Manifest) []compare.Field {
	var fields []compare.Field
	add := func(name string, x, y any) {
		if p, q := fmt.Sprint(x), fmt.Sprint(y); p != q {
			fields = append(fields, compare.Field{Name: name, A: p, B: q})
		}
	}
	add("tool", a.Tool, b.Tool)
	names := maps.Clone(a.Settings)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, b.Settings)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add("settings."+name, a.Settings[name], b.Settings[name])
	}
	for _, y := range b.Cells {
		x, ok := cellOf(a, y.System)
		if !ok || x.Engine == nil || y.Engine == nil {
			continue
		}
		prefix := string(y.System) + " engine."
		add(prefix+"kind", x.Engine.Kind, y.Engine.Kind)
		add(prefix+"version", x.Engine.Version, y.Engine.Version)
		add(prefix+"nix", x.Engine.Nix.Text, y.Engine.Nix.Text)
		add(prefix+"image", x.Engine.Image, y.Engine.Image)
		add(prefix+"native", x.Engine.Native, y.Engine.Native)
		add(prefix+"emulator", x.Engine.Emulator, y.Engine.Emulator)
		add(prefix+"cores", x.Engine.Cores, y.Engine.Cores)
		if x.Sandbox != nil && y.Sandbox != nil {
			add(string(y.System)+" sandbox", *x.Sandbox, *y.Sandbox)
		}
	}
	return fields
}
