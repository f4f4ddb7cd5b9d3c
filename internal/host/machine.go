package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// Nix is what there is to know of this machine's Nix. To ask is to start two processes, some 60 ms.
// The zero value has not asked yet.
type Nix struct {
	mu      sync.Mutex
	known   bool
	version nix.Version
	config  config
}

// machine is what Open has found out of this machine and its Nix.
type machine struct {
	nix    nix.Version
	native matrix.System
	config config
	daemon bool
	// emulator is the binfmt entry that runs the executor's system, where that is foreign.
	emulator        *binfmt.Entry
	emulatorVersion string
}

// config holds those of Nix's own settings that matter here.
type config struct {
	System              setting[string]   `json:"system"`
	Substituters        setting[[]string] `json:"substituters"`
	TrustedSubstituters setting[[]string] `json:"trusted-substituters"`
	TrustedUsers        setting[[]string] `json:"trusted-users"`
	BuildUsersGroup     setting[string]   `json:"build-users-group"`
	SandboxPaths        setting[[]string] `json:"sandbox-paths"`
}

type setting[T any] struct {
	Value T `json:"value"`
}

func (x *Executor) look(ctx context.Context, known *Nix) (m machine, err error) {
	if m.nix, m.config, err = known.ask(ctx, x); err != nil {
		return m, err
	}
	if m.native, err = matrix.ParseSystem(m.config.System.Value); err != nil {
		return m, err
	}
	m.daemon = x.usesDaemon()
	if x.System != m.native {
		if m.emulator = binfmt.Find(x.System.Machine()); m.emulator != nil {
			m.emulatorVersion = m.emulator.Version(ctx)
		}
	}
	return m, nil
}

// ask asks Nix for its version and configuration, unless that was done. What failed is asked again.
func (n *Nix) ask(ctx context.Context, x *Executor) (nix.Version, config, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known {
		return n.version, n.config, nil
	}
	// To evaluate is to open the store, which makes it where there is none yet: two processes that do so at once fail
	// ("creating symlink …: File exists"). After this one they all find it made.
	out, err := x.Run(ctx, pipelines.Command{Program: "nix-instantiate", Args: []string{"--eval", "--expr", "builtins.nixVersion"}})
	if err != nil {
		return nix.Version{}, config{}, err
	}
	var version nix.Version
	if err := version.UnmarshalText([]byte(strings.Trim(string(out), "\"\n"))); err != nil {
		return nix.Version{}, config{}, err
	}
	show := []string{"show-config", "--json"}
	if version.AtLeast(2, 20) {
		show = []string{"config", "show", "--json"}
	}
	out, err = x.Run(ctx, pipelines.Command{
		Program: "nix", Args: show, Settings: nix.Settings{"experimental-features": "nix-command flakes"},
	})
	if err != nil {
		return nix.Version{}, config{}, fmt.Errorf("read configuration of Nix: %v", err)
	}
	var c config
	if err := json.Unmarshal(out, &c); err != nil {
		return nix.Version{}, config{}, fmt.Errorf("read configuration of Nix: %v", err)
	}
	n.known, n.version, n.config = true, version, c
	return version, c, nil
}

const daemonSocket = "/nix/var/nix/daemon-socket/socket"

// usesDaemon tells whether Nix's store "auto" stands for the daemon here, by the manual's rule:
// the state directory is not writable and a socket is there.
func (x *Executor) usesDaemon() bool {
	for _, kv := range x.Env {
		if store, ok := strings.CutPrefix(kv, "NIX_REMOTE="); ok && store != "" && store != "auto" {
			return store == "daemon" || strings.HasPrefix(store, "unix://")
		}
	}
	if syscall.Access("/nix/var/nix", 2) == nil {
		return false
	}
	info, err := os.Stat(daemonSocket)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// settings are those that this machine needs for the system.
func (m machine) settings(system matrix.System) nix.Settings {
	s := nix.Settings{}
	if m.emulator != nil {
		// The list's own name begins with "extra-": this appends to it.
		s["extra-extra-platforms"] = string(system)
	}
	if !m.daemon && os.Geteuid() == 0 {
		// Debian's nix-bin makes no group of build users; root then builds as itself, inside the sandbox.
		if _, err := user.LookupGroup(m.config.BuildUsersGroup.Value); err != nil {
			s["build-users-group"] = ""
		}
	}
	return s
}

// Describe says what this machine is.
func (x *Executor) Describe(context.Context) (pipelines.Engine, error) {
	m := x.machine
	e := pipelines.Engine{
		SandboxPaths: m.config.SandboxPaths.Value, Notes: m.notes(),
		Kind: "host", Nix: m.nix, Native: m.native, Cores: runtime.NumCPU(),
		FreeBytes: freeBytes(string(nix.StoreDir)), Ignored: m.ignored(x.Settings, m.trustsUser()), Kernel: binfmt.Kernel(),
	}
	if m.emulator != nil {
		e.Emulator, e.EmulatorVersion = "binfmt", m.emulatorVersion
	}
	return e, nil
}

// notes warns of what this machine's own nix.conf gives builders, which another machine has not.
func (m machine) notes() []string {
	var foreign []string
	for _, path := range m.config.SandboxPaths.Value {
		if inside, _, _ := strings.Cut(path, "="); inside != "/bin/sh" { // which Nix itself brings along
			foreign = append(foreign, path)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return []string{"this machine's nix.conf shows builders " + strings.Join(foreign, " ") + " (sandbox-paths): another machine may build something else"}
}

// freeBytes returns the free space for a user of dir's file system, or of its nearest ancestor's.
func freeBytes(dir string) int64 {
	var fs syscall.Statfs_t
	for syscall.Statfs(dir, &fs) != nil {
		parent := filepath.Dir(dir)
		if parent == dir {
			return 0
		}
		dir = parent
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// ignored returns those substituters of the settings that a daemon would pass over in silence,
// because neither they nor the user who asks is trusted.
// See https://nix.dev/manual/nix/latest/command-ref/conf-file#conf-trusted-users.
func (m machine) ignored(s nix.Settings, trusted bool) []string {
	if !m.daemon || trusted {
		return nil
	}
	known := append(slices.Clone(m.config.Substituters.Value), m.config.TrustedSubstituters.Value...)
	for i := range known {
		known[i] = strings.TrimRight(known[i], "/")
	}
	var ignored []string
	for _, url := range strings.Fields(s["substituters"]) {
		if !slices.Contains(known, strings.TrimRight(url, "/")) {
			ignored = append(ignored, url)
		}
	}
	return ignored
}

func (m machine) trustsUser() bool {
	if os.Geteuid() == 0 {
		return true
	}
	me, err := user.Current()
	if err != nil {
		return false
	}
	groups := map[string]bool{}
	ids, _ := me.GroupIds()
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			groups["@"+g.Name] = true
		}
	}
	return slices.ContainsFunc(m.config.TrustedUsers.Value, func(name string) bool {
		return name == "*" || name == me.Username || groups[name]
	})
}
