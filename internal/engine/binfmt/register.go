package binfmt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ConfigFile returns the file of Debian's package of QEMU with the entry for a system, in the format of binfmt.d(5).
func ConfigFile(s matrix.System) string { return "/usr/lib/binfmt.d/qemu-" + s.Emulator() + ".conf" }

// Register registers the entry of an installed emulator with the kernel, like systemd-binfmt. It mounts binfmt_misc if
// needed. An existing entry is not an error.
func Register(s matrix.System) error {
	config := ConfigFile(s)
	data, err := os.ReadFile(config)
	if err != nil {
		return hint.Wrap(fmt.Errorf("register emulator for %s: %v", s.Machine(), err), "apt-get install qemu-user-static")
	}
	register := filepath.Join(Dir, "register")
	if _, err := os.Stat(register); err != nil {
		if err := syscall.Mount("binfmt_misc", Dir, "binfmt_misc", 0, ""); err != nil {
			return fmt.Errorf("mount binfmt_misc: %v", err)
		}
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		err := os.WriteFile(register, []byte(line), 0o200)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("register emulator for %s: %v", s.Machine(), err)
		}
	}
	return nil
}
