package binfmt

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Version returns the first line of the emulator's --version; empty if it fails. The kernel may run an older emulator, from
// before an upgrade: with flag F, it uses the file that it opened when the entry was registered.
func (e Entry) Version(ctx context.Context) string {
	// Debian's entry names a link. Under the name of the link, QEMU is started by the kernel and takes no options.
	program, err := filepath.EvalSymlinks(e.Interpreter)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// Kernel returns the release of the running kernel, as uname -r does.
func Kernel() string { return read("/proc/sys/kernel/osrelease") }

// Boot returns the identifier of this boot of the kernel. Two processes with the same one run on one kernel.
func Boot() string { return read("/proc/sys/kernel/random/boot_id") }

func read(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
