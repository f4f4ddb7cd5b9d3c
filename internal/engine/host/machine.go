package host

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Nix caches the version and configuration of this machine's Nix. Reading them takes three processes and about 60 ms.
// The zero value is empty.
type Nix struct {
	mu      sync.Mutex
	known   bool
	version nix.Version
	config  config
}

// machine describes this machine and its Nix.
type machine struct {
	nix    nix.Version
	native matrix.System
	config config
	daemon bool
	// emulator is the binfmt entry for the executor's system if that is foreign.
	emulator        *binfmt.Entry
	emulatorVersion string
	// compatible says that Nix itself builds for the foreign system: it is one of its extra-platforms, which has i686-linux
	// on x86_64.
	compatible bool
}

func (x *Executor) inspect(ctx context.Context, known *Nix) (m machine, err error) {
	if m.nix, m.config, err = known.load(ctx, x); err != nil {
		return m, err
	}
	if m.native, err = m.config.native(); err != nil {
		return m, err
	}
	store, err := m.config.text("store")
	if err != nil {
		return m, err
	}
	// For the store "auto", the manual has the rule: the state directory is not writable, and there is a socket.
	m.daemon = store == "daemon" || strings.HasPrefix(store, "unix://") ||
		(store == "" || store == "auto") && !x.access.Writable && x.access.Socket == nil
	if x.System != m.native {
		if m.emulator = binfmt.Find(x.System); m.emulator != nil {
			m.emulatorVersion = m.emulator.Version(ctx)
		} else {
			m.compatible = slices.Contains(strings.Fields(m.config["extra-platforms"]), string(x.System))
		}
	}
	return m, nil
}

// load reads the version and configuration of Nix once. After an error, the next call tries again.
func (n *Nix) load(ctx context.Context, x *Executor) (nix.Version, config, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known {
		return n.version, n.config, nil
	}
	out, err := x.Run(ctx, engine.Command{Program: "nix", Args: []string{"--version"}})
	if err != nil {
		return nix.Version{}, nil, err
	}
	version, err := nix.ParseVersion(string(out))
	if err != nil {
		return nix.Version{}, nil, err
	}
	if err := version.Supported(); err != nil {
		return nix.Version{}, nil, hint.Wrap(err, "install a newer one: https://nixos.org/download, or nix-bin of Debian 12 or newer")
	}
	if err := x.openStore(ctx); err != nil {
		return nix.Version{}, nil, err
	}
	show := []string{"show-config"}
	if version.AtLeast(2, 20) {
		show = []string{"config", "show"}
	}
	out, err = x.Run(ctx, engine.Command{
		Program: "nix", Args: show, Settings: nix.Settings{"extra-experimental-features": "nix-command"},
	})
	if err != nil {
		return nix.Version{}, nil, fmt.Errorf("read configuration of Nix: %w", err)
	}
	n.known, n.version, n.config = true, version, parseConfig(string(out))
	return n.version, n.config, nil
}

// settings returns the settings that this machine needs to build for the system.
func (m machine) settings(system matrix.System) (nix.Settings, error) {
	s := nix.Settings{}
	if m.emulator != nil {
		// The list's own name begins with "extra-": this appends to it.
		s["extra-extra-platforms"] = string(system)
	}
	if !m.daemon && os.Geteuid() == 0 && m.config["auto-allocate-uids"] != "true" {
		group, err := m.config.text("build-users-group")
		if err == nil {
			err = buildUsersProblem(group, groupFile)
		}
		if err != nil {
			return nil, err
		}
	}
	if !m.daemon {
		// The collector of min-free is a thread that still runs while the process ends: 2.34 crashes (exit code 139), 2.26
		// fails with paths in freed memory. A daemon answers before it ends, so it keeps its setting.
		s["min-free"] = "0"
	}
	return s, nil
}

// Describe implements [engine.Executor].
func (x *Executor) Describe(context.Context) (engine.Engine, error) {
	m := x.machine
	e := engine.Engine{
		SandboxPaths: m.sandboxPaths(), Notes: m.notes(),
		Kind: "host", Evaluation: x.evaluation(), Nix: m.nix, Native: m.native, Compatible: m.compatible, Cores: runtime.NumCPU(),
		FreeBytes: max(x.Resources().StoreFree, 0), Kernel: binfmt.Kernel(),
	}
	trusted, err := m.trustsUser()
	if err == nil {
		e.Ignored, err = m.ignored(x.Settings, trusted)
	}
	if err == nil {
		e.Refused, err = x.refusal(trusted)
	}
	if err != nil {
		return e, err
	}
	if m.emulator != nil {
		e.Emulator, e.EmulatorVersion = "binfmt", m.emulatorVersion
	}
	return e, nil
}

// sandboxPaths returns the files of this machine that builders see; none for a Nix without that setting.
func (m machine) sandboxPaths() []string { return strings.Fields(m.config["sandbox-paths"]) }

// refusal returns why this machine's Nix refuses to build for a foreign system that the kernel can emulate, or nil. A
// daemon accepts extra-platforms only from its own configuration and from trusted users.
func (x *Executor) refusal(trusted bool) (refused, err error) {
	m := x.machine
	if m.emulator == nil || !m.daemon || trusted {
		return nil, nil
	}
	platforms, err := m.config.list("extra-platforms")
	if err != nil || slices.Contains(platforms, string(x.System)) {
		return nil, err
	}
	return hint.Wrap(fmt.Errorf("build for %s: the Nix daemon has no such extra-platforms, and it does not trust %s to add it", x.System, x.access.User),
		"%s", x.access.allowSystem(x.System)), nil
}

// notes warns of files that builders see by this machine's nix.conf, and that other machines may not have.
func (m machine) notes() []string {
	var foreign []string
	for _, path := range m.sandboxPaths() {
		if inside, _, _ := strings.Cut(path, "="); inside != "/bin/sh" { // which comes with Nix
			foreign = append(foreign, path)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return []string{"this machine's nix.conf shows builders " + strings.Join(foreign, " ") + " (sandbox-paths): another machine may build something else"}
}

// ignored returns the substituters of the settings that a daemon ignores without a message: those that it does not trust,
// if it does not trust the user either.
// See https://nix.dev/manual/nix/latest/command-ref/conf-file#conf-trusted-users.
func (m machine) ignored(s nix.Settings, trusted bool) ([]string, error) {
	if !m.daemon || trusted {
		return nil, nil
	}
	known := map[string]bool{}
	for _, name := range []string{"substituters", "trusted-substituters"} {
		urls, err := m.config.list(name)
		if err != nil {
			return nil, err
		}
		for _, url := range urls {
			known[strings.TrimRight(url, "/")] = true
		}
	}
	urls := strings.Fields(s["substituters"])
	return slices.DeleteFunc(urls, func(url string) bool { return known[strings.TrimRight(url, "/")] }), nil
}

// trustsUser reports whether the store trusts the user of this process.
func (m machine) trustsUser() (bool, error) {
	if !m.daemon || os.Geteuid() == 0 {
		return true, nil
	}
	trusted, err := m.config.list("trusted-users")
	if err != nil {
		return false, err
	}
	me, err := user.Current()
	if err != nil {
		return false, nil // a user without a name cannot be listed
	}
	ids, _ := me.GroupIds()
	return slices.ContainsFunc(trusted, func(name string) bool {
		if group, err := user.LookupGroup(strings.TrimPrefix(name, "@")); err == nil && strings.HasPrefix(name, "@") {
			return slices.Contains(ids, group.Gid)
		}
		return name == "*" || name == me.Username
	}), nil
}
