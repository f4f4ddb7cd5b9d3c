package nix

import (
	"strings"
	"testing"
)

// The texts are the output of Nix 2.8.0, 2.26.3 and 2.34.8 on kernels and in containers without some privileges.
func TestNoSandbox(t *testing.T) {
	const planned = "this derivation will be built:\n  /nix/store/xkfayphams0wszgmr54kxv2009kqvks3-x.drv\n"
	for stderr, want := range map[string]string{
		// 2.8: no user namespaces; no CAP_SYS_ADMIN either; no more network namespaces; a masked /proc; no setgroups
		planned + "\x1b[31;1merror:\x1b[0m cannot perform a sandboxed build because user namespaces are not enabled; check /proc/sys/user/max_user_namespaces\n": "cannot perform",
		planned + "\x1b[31;1merror:\x1b[0m cloning builder process: \x1b[35;1mOperation not permitted\x1b[0m\nerror: unable to start build process\n":            "cloning",
		planned + "error: cloning builder process: No space left on device\nerror: unable to start build process\n":                                              "cloning",
		planned + "error: mounting /proc: Operation not permitted\n(use '--show-trace' to show detailed location information)\n":                                 "mounting /proc",
		planned + "error: setgroups failed: Operation not permitted\nerror: unable to start build process\n":                                                     "setgroups",
		// 2.8 with a daemon, whose own error output has the cause
		planned + "error: unable to start build process\n": "unable to start",
		// in a process namespace without its own /proc
		planned + "error: opening file '/proc/140/uid_map': No such file or directory\n": "opening file",
		// 2.26 and 2.34
		planned + "error: this system does not support the kernel namespaces that are required for sandboxing; use '--no-sandbox' to disable sandboxing\n": "this system",
		planned + "error:\n       … while setting up the build environment\n\n       error: unable to fork: No space left on device\n":                     "unable to fork",
		planned + "error: writing file \"/proc/140/gid_map\": Operation not permitted\n":                                                                   "writing file",
		// Nix in a container of a foreign system
		planned + "error: unable to load seccomp BPF program: Invalid argument\n": "unable to load seccomp",
	} {
		if got := NoSandbox(stderr); !strings.HasPrefix(got, want) || want == "" {
			t.Errorf("NoSandbox(%q) = %q, want %q", stderr, got, want)
		}
	}
	for _, stderr := range []string{
		"",
		planned + "error: cloning builder process: Resource temporarily unavailable\nerror: unable to start build process\n",
		planned + "error: unable to fork: Cannot allocate memory\n",
		planned + "error: unexpected end-of-file\nerror: builder for '/nix/store/xkfayphams0wszgmr54kxv2009kqvks3-x.drv' failed with exit code 1\n",
		planned + "error: Nix daemon disconnected unexpectedly (maybe it crashed?)\n",
		planned + "error: executing '/nix/store/xkfayphams0wszgmr54kxv2009kqvks3-probe': Exec format error\n",
		planned + "error: a 'aarch64-linux' with features {} is required to build '/nix/store/xkfayphams0wszgmr54kxv2009kqvks3-x.drv', but I am a 'x86_64-linux'\n",
		planned + "error: writing to file: No space left on device\n",
		planned + "error: getting pseudoterminal attributes: Inappropriate ioctl for device\n",
		"error: opening a connection to remote store 'daemon' previously failed\n",
		"cannot build on 'ssh-ng://b': error: cannot connect to 'b': Connection refused\nerror: unable to start any build; remote machines may not have all required system features.\n",
	} {
		if got := NoSandbox(stderr); got != "" {
			t.Errorf("NoSandbox(%q) = %q, want nothing", stderr, got)
		}
	}
}
