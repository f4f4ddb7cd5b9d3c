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
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

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
	if err != nil {
		return skip("%v", err)
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

// systemdVerify returns the messages of systemd-analyze by unit. Another check looks for a unit's program; here it is
// replaced by this program, which exists.
func systemdVerify(units map[string]string) (map[string][]string, error) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return nil, errors.New("this machine has no systemd-analyze")
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
		return nil, fmt.Errorf("systemd-analyze verify: %w: %s", err, reason)
	}
	return messages, nil
}
