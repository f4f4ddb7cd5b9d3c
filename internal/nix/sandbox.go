package nix

import (
	"regexp"
	"strings"
)

// The messages of Nix 2.8 to 2.34 about a sandbox that cannot be set up, from src/libstore/**/build. Some of them are about
// a system call, and then depend on its error: too many processes or too little memory are not caused by the sandbox.
var (
	noSandbox = regexp.MustCompile(`cannot perform a sandboxed build because` +
		`|this system does not support the kernel namespaces that are required for sandboxing` +
		`|sandboxing builds is not supported on this platform` +
		`|user namespace initialisation failed` +
		`|setgroups failed\. Set the require-drop-supplementary-groups`)

	noSandboxCall = regexp.MustCompile(`(?:cloning builder process|unable to fork|setgroups failed` +
		`|unable to make .+ (?:private|shared)|unable to bind mount .+|bind mount from .+ to .+ failed|mounting /.+` +
		`|unsharing (?:mount|cgroup) namespace|getting sandbox (?:mount|user) namespace` +
		`|cannot (?:create real-root directory|pivot old root directory onto .+|change root directory to .+|unmount real root filesystem|remove real-root directory)` +
		`|cannot open IP socket|cannot set (?:loopback interface flags|host name|domain name)` +
		`|unable to (?:initialize|add|load) seccomp .+|unable to set 'no new privileges' seccomp attribute` +
		`|.*/proc/\d+/(?:uid_map|gid_map|setgroups)["'])` +
		`: (?:Operation not permitted|Permission denied|Invalid argument|Function not implemented|No space left on device|No such file or directory|No such device)`)

	// noProcess is the only message that a client of the daemon gets about a process that could not be cloned.
	noProcess    = regexp.MustCompile(`unable to start build process`)
	otherProcess = regexp.MustCompile(`(?:cloning builder process|unable to fork): `)
)

// NoSandbox returns the line of Nix's standard error about a sandbox that it cannot set up; empty if Nix failed for
// another reason.
func NoSandbox(stderr string) string {
	started := ""
	for line := range strings.Lines(PlainText(stderr)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error:"))
		switch {
		case noSandbox.MatchString(line), noSandboxCall.MatchString(line):
			return line
		case otherProcess.MatchString(line):
			return "" // the process could not be started for another reason
		case noProcess.MatchString(line):
			started = line
		}
	}
	return started
}
