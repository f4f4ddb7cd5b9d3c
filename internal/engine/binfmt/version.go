package binfmt

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Version returns the first line that the emulator prints of its version; empty where it does not say.
// The kernel may have opened an older one, before an upgrade: flag F keeps that until the entry is made anew.
func (e Entry) Version(ctx context.Context) string {
	// Debian's entry names a link, by whose name QEMU knows that the kernel has started it; then it takes no options.
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

// Boot names the running kernel since it was started: two who read the same run on one kernel.
func Boot() string { return read("/proc/sys/kernel/random/boot_id") }

func read(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
