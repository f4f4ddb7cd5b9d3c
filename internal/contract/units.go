package contract

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
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

// directives are the values in a unit by name. The unit is a file, or an attribute set that becomes one.
type directives map[string][]string

// anyValue requires any value.
const anyValue = "*"

// check returns a failure for each directive that is not as expected.
func (d directives) check(expected Expectations) (broken []Result) {
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		found, ok := d[name]
		if ok && satisfies(found, expected[name]) {
			continue
		}
		reason := name + " is not as required"
		if !ok {
			reason = name + " is not set"
		}
		broken = append(broken, Result{
			Check: "/" + name, Reason: reason, Wanted: assignments(name, expected[name]), Found: assignments(name, found),
		})
	}
	return broken
}

// satisfies reports whether all wanted values were found. Further values are allowed.
func satisfies(found []string, wanted Values) bool {
	if len(wanted) == 1 && wanted[0] == anyValue {
		return strings.Join(found, "") != ""
	}
	if len(wanted) == 1 && len(found) == 1 {
		return sameValue(found[0], wanted[0]) || slices.Contains(strings.Fields(found[0]), wanted[0])
	}
	var words []string
	for _, f := range found {
		words = append(append(words, f), strings.Fields(f)...)
	}
	return len(missing(wanted, words)) == 0
}

// sameValue compares two values as systemd reads them. Systemd accepts several words for a boolean; where the contract
// has 0 or 1, it means the number.
func sameValue(found, wanted string) bool {
	if _, err := strconv.Atoi(wanted); err == nil {
		return found == wanted
	}
	f, w := boolean(found), boolean(wanted)
	return found == wanted || f != "" && f == w
}

// boolean returns "true" or "false" for any of systemd's words for a boolean, and "" for other values.
func boolean(value string) string {
	switch strings.ToLower(value) {
	case "1", "yes", "y", "true", "t", "on":
		return "true"
	case "0", "no", "n", "false", "f", "off":
		return "false"
	}
	return ""
}

func assignments(name string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	return name + "=" + strings.Join(values, " ")
}

// merge returns the expectations of both. Where both have a directive, others takes precedence.
func (d Expectations) merge(others Expectations) Expectations {
	all := Expectations{}
	maps.Copy(all, d)
	maps.Copy(all, others)
	return all
}

// verifyLimit is the time limit of systemd-analyze. It takes some hundredths of a second.
const verifyLimit = 30 * time.Second

// execLine matches a command of a unit. Its program may be of another system, or in the store of an engine.
var execLine = regexp.MustCompile(`(?m)^(Exec\w+\s*=\s*[-@:+!]*)\S+`)

// verify runs systemd-analyze on all units together, since they refer to each other.
func (b *built) verify() (found []Result) {
	units := b.unitFiles()
	if len(units) == 0 {
		return skip("there are no units")
	}
	messages, err := systemdVerify(units)
	if _, ok := errors.AsType[unverified](err); ok {
		return skip("%v", err)
	}
	if err != nil {
		return fail("%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		r, lines := Result{Check: "/" + name, Status: Pass}, messages[name]
		if len(lines) > 0 {
			r.Status, r.Reason = Warn, "systemd-analyze verify: "+strings.Join(lines, "; ")
			if slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(l, "Unknown ") }) {
				r.Status = Fail // not only a misspelt key, or one that this machine's systemd does not know yet
			}
		}
		found = append(found, r)
	}
	return found
}

// unitFiles returns the texts of all units that exist, by name.
func (b *built) unitFiles() map[string]string {
	units := map[string]string{}
	for name, p := range b.Packages {
		for _, unit := range p.Units {
			f, err := b.files.find((&output{b, p, name}).in(b.unitDir(), unit))
			if err == nil && f.Mode.IsRegular() {
				units[unit] = string(f.Data)
			}
		}
	}
	return units
}

// unverified is an error of a machine that cannot verify units.
type unverified struct{ error }

// systemdVerify returns the messages of systemd-analyze by unit. Another check looks for a unit's program; here it is
// replaced by this program, which exists.
func systemdVerify(units map[string]string) (map[string][]string, error) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return nil, unverified{errors.New("this machine has no systemd-analyze")}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %v", err)
	}
	work, err := workdir.Make("", "units")
	if err != nil {
		return nil, fmt.Errorf("write units: %v", err)
	}
	defer work.Remove()
	dir, args := work.Path, []string{"--user", "--man=no", "verify"}
	for name, text := range units {
		file := filepath.Join(dir, filepath.Base(name))
		text = execLine.ReplaceAllString(text, "${1}"+strings.ReplaceAll(self, "$", "$$"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write units: %v", err)
		}
		args = append(args, file)
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	// Units may refer to those of the machine, but not to those of this user.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	messages := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		for name := range units {
			if strings.Contains(line, name) {
				messages[name] = append(messages[name], strings.TrimSpace(strings.ReplaceAll(line, dir+"/", "")))
				break
			}
		}
	}
	if err != nil && len(messages) == 0 {
		// It failed without a message about a unit, for example because it is too old for --user.
		reason, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return nil, unverified{fmt.Errorf("systemd-analyze verify: %w: %s", err, reason)}
	}
	return messages, nil
}
