package host

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Resources measures this machine. It implements [engine.ResourceMeter].
func (x *Executor) Resources() engine.Resources {
	build := writable(x.variable("TMPDIR", "/tmp"))
	if dir := filepath.Join(x.variable("NIX_STATE_DIR", x.root()+"/nix/var/nix"), "builds"); exists(dir) { // since Nix 2.30
		build = min(build, writable(dir))
	}
	return engine.Resources{StoreFree: writable(x.storeDir()), BuildFree: build, OOMKills: x.oomKills()}
}

// lowDisk is the free space in bytes below which a command may fail for lack of it. Nix has the same limit.
const lowDisk = 8 << 20

// hintFull adds a hint to the error of a command if a file system is full. The message of Nix may be about its database
// ("disk I/O error").
func (x *Executor) hintFull(err error) error {
	r := x.Resources()
	for _, disk := range []struct {
		free int64
		name string
	}{{r.StoreFree, "Nix's store (" + x.storeDir() + ")"}, {r.BuildFree, "Nix's builds (" + x.variable("TMPDIR", "/tmp") + ")"}} {
		if disk.free >= 0 && disk.free < lowDisk {
			return hint.Wrap(err, "the file system of %s has %d KiB left: make room: nix-collect-garbage", disk.name, disk.free>>10)
		}
	}
	return err
}

// variable returns the value of a variable for Nix, or a default if it is not set.
func (x *Executor) variable(name, otherwise string) string {
	value, _ := child.Lookup(x.Env, name)
	return cmp.Or(value, otherwise)
}

// root returns the root directory of Nix's store: that of a store such as "local?root=/mnt", else empty.
func (x *Executor) root() string {
	_, parameters, _ := strings.Cut(x.variable("NIX_REMOTE", ""), "?")
	for p := range strings.SplitSeq(parameters, "&") {
		if root, ok := strings.CutPrefix(p, "root="); ok {
			return root
		}
	}
	return ""
}

// storeDir returns the directory with the store's files.
func (x *Executor) storeDir() string { return x.root() + string(nix.StoreDir) }

// writable returns how many bytes can still be written below a directory: -1 if that is not known, 0 if no file can be
// added. Root can use the reserved blocks too.
func writable(dir string) int64 {
	var fs syscall.Statfs_t
	if syscall.Statfs(existing(dir), &fs) != nil {
		return -1
	}
	blocks := fs.Bavail
	if os.Geteuid() == 0 {
		blocks = fs.Bfree
	}
	if fs.Files > 0 && fs.Ffree == 0 {
		return 0
	}
	return int64(blocks) * int64(fs.Bsize)
}

// oomKills returns how many processes the kernel has killed because memory ran out: in the control group of the builders,
// which is that of this process or of the daemon. The root group has no counter; then it is that of the whole machine.
func (x *Executor) oomKills() int64 {
	group := "/system.slice/nix-daemon.service"
	if !x.machine.daemon {
		data, _ := os.ReadFile("/proc/self/cgroup")
		group, _ = lineAfter(string(data), "0::")
	}
	for _, file := range []string{filepath.Join("/sys/fs/cgroup", group, "memory.events"), "/proc/vmstat"} {
		data, _ := os.ReadFile(file)
		count, _ := lineAfter(string(data), "oom_kill ")
		if n, err := strconv.ParseInt(count, 10, 64); err == nil {
			return n
		}
	}
	return -1
}

// lineAfter returns the rest of the line with a prefix.
func lineAfter(text, prefix string) (string, bool) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}
