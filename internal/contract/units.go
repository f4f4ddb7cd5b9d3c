package contract

import (
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// parseUnit parses a unit file. It ignores the sections, since the names of directives differ. An empty value resets a
// directive.
func parseUnit(text string) directives {
	d := directives{}
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") || strings.HasPrefix(line, "[") {
			continue
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if value == "" {
			d[name] = []string{""}
			continue
		}
		if before := d[name]; len(before) == 1 && before[0] == "" {
			d[name] = nil
		}
		d[name] = append(d[name], value)
	}
	return d
}

// unit checks one unit file of a package.
func (b *built) unit(check string, pkg matrix.Package, unit string) {
	f, err := b.objects.find(b.in(pkg, b.unitDir(), unit))
	if err != nil || !f.Mode.IsRegular() {
		b.fail(check, "there is no %s in %s", unit, b.unitDir())
		return
	}
	b.group(check, func() {
		if b.Units == nil {
			return
		}
		for _, text := range b.Units.Forbidden {
			for line := range strings.Lines(string(f.Data)) {
				if strings.Contains(line, text) {
					b.add(Result{
						Check: check + "/forbidden", Status: Fail, Reason: "it contains " + text, Wanted: "the store path", Found: strings.TrimSpace(line),
						Fix: "substituteInPlace … --replace-fail " + text + "/ $out/bin/",
					})
					break
				}
			}
		}
		if strings.HasSuffix(unit, ".service") {
			d := parseUnit(string(f.Data))
			d.check(b.recorder, check, b.Units.Service.merge(b.Units.Of[unit]))
			b.execStart(check+"/ExecStart", d["ExecStart"])
		}
	})
}

// unitDir returns the directory of units in a package.
func (b *built) unitDir() string {
	if b.Units == nil || b.Units.Dir == "" {
		return unitDir
	}
	return b.Units.Dir
}

// execStart checks the program that a service starts.
func (b *built) execStart(check string, commands []string) {
	if len(commands) == 0 {
		b.fail(check, "ExecStart is not set")
		return
	}
	for _, command := range commands {
		words := strings.Fields(command)
		if len(words) == 0 {
			b.fail(check, "ExecStart is not set")
			return
		}
		program := strings.TrimLeft(words[0], "-@:+!")
		for _, text := range b.Units.Forbidden {
			if strings.Contains(program, text) {
				return // reported as forbidden
			}
		}
		f, err := b.objects.find(program)
		switch {
		case !strings.HasPrefix(program, string(nix.StoreDir)+"/"):
			b.fail(check, "%s is not in the store", program)
		case err != nil:
			b.fail(check, "there is no %s in what was built", program)
		case !f.Executable():
			b.fail(check, "%s is not executable", program)
		}
	}
}
