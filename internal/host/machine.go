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
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// machine is what Open has found out of this machine and its Nix.
type machine struct {
	nix    nix.Version
	native matrix.System
	config config
	daemon bool
	// emulator is the binfmt entry that runs the executor's system, where that is foreign.
	emulator *binfmt.Entry
}

// config holds those of Nix's own settings that matter here.
type config struct {
	System              setting[string]   `json:"system"`
	Substituters        setting[[]string] `json:"substituters"`
	TrustedSubstituters setting[[]string] `json:"trusted-substituters"`
	TrustedUsers        setting[[]string] `json:"trusted-users"`
	BuildUsersGroup     setting[string]   `json:"build-users-group"`
}

type setting[T any] struct {
	Value T `json:"value"`
}

func (x *Executor) look(ctx context.Context) (machine, error) {
	var m machine
	out, err := x.Run(ctx, pipelines.Command{Program: "nix", Args: []string{"--version"}})
	if err != nil {
		return m, err
	}
	if m.nix, err = nix.ParseVersion(string(out)); err != nil {
		return m, err
	}
	show := []string{"show-config", "--json"}
	if m.nix.AtLeast(2, 20) {
		show = []string{"config", "show", "--json"}
	}
	out, err = x.Run(ctx, pipelines.Command{
		Program: "nix", Args: show, Settings: nix.Settings{"experimental-features": "nix-command flakes"},
	})
	if err != nil {
		return m, fmt.Errorf("read configuration of Nix: %v", err)
	}
	if err := json.Unmarshal(out, &m.config); err != nil {
		return m, fmt.Errorf("read configuration of Nix: %v", err)
	}
	if m.native, err = matrix.ParseSystem(m.config.System.Value); err != nil {
		return m, err
	}
	m.daemon = x.usesDaemon()
	if x.System != m.native {
		m.emulator = binfmt.Find(x.System.Machine())
	}
	return m, nil
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
		Kind: "host", Nix: m.nix, Native: m.native, Cores: runtime.NumCPU(),
		FreeBytes: freeBytes(string(nix.StoreDir)), Ignored: m.ignored(x.Settings, m.trustsUser()),
	}
	if m.emulator != nil {
		e.Emulator = "binfmt"
	}
	return e, nil
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
