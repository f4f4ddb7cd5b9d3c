package contract

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
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
		if before := d[name]; value == "" || len(before) == 1 && before[0] == "" {
			d[name] = nil
		}
		d[name] = append(d[name], value)
	}
	return d
}

// unit checks one unit file of a package.
func (o *output) unit(unit string) (broken []Result) {
	f, err := o.files.find(o.in(o.unitDir(), unit))
	if err != nil || !f.Mode.IsRegular() {
		return fail("there is no %s in %s", unit, o.unitDir())
	}
	if o.Units == nil {
		return nil
	}
	for _, text := range o.Units.Forbidden {
		for line := range strings.Lines(string(f.Data)) {
			if strings.Contains(line, text) {
				broken = append(broken, Result{
					Check: "/forbidden", Reason: "it contains " + text, Wanted: "the store path", Found: strings.TrimSpace(line),
					Fix: "substituteInPlace … --replace-fail " + text + "/ $out/bin/",
				})
				break
			}
		}
	}
	if strings.HasSuffix(unit, ".service") {
		d := parseUnit(string(f.Data))
		broken = append(broken, d.check(o.Units.Service.merge(o.Units.Of[unit]))...)
		broken = append(broken, o.execStart(d["ExecStart"])...)
	}
	return broken
}

// unitDir returns the directory of units in a package.
func (b *built) unitDir() string {
	if b.Units == nil || b.Units.Dir == "" {
		return unitDir
	}
	return b.Units.Dir
}

// execStart checks the programs that a service starts.
func (b *built) execStart(commands []string) (broken []Result) {
	if len(commands) == 0 {
		commands = []string{""}
	}
	for _, command := range commands {
		program, reason := programOf(command), ""
		f, err := b.files.find(program)
		switch {
		case slices.ContainsFunc(b.Units.Forbidden, func(text string) bool { return strings.Contains(program, text) }):
			// reported as forbidden
		case program == "":
			reason = "ExecStart is not set"
		case !strings.HasPrefix(program, string(nix.StoreDir)+"/"):
			reason = program + " is not in the store"
		case err != nil:
			reason = fmt.Sprintf("there is no %s in what was built", program)
		case !f.Executable():
			reason = program + " is not executable"
		}
		if reason != "" {
			broken = append(broken, Result{Check: "/ExecStart", Reason: reason})
		}
	}
	return broken
}

// programOf returns the program of a command line of systemd; empty where there is none.
func programOf(command string) string {
	words := strings.Fields(command)
	if len(words) == 0 {
		return ""
	}
	return strings.TrimLeft(words[0], "-@:+!")
}
