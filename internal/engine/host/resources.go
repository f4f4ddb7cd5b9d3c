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
	if dir := filepath.Join(x.variable("NIX_STATE_DIR", x.root()+"/nix/var/nix"), "builds"); isDir(dir) { // since Nix 2.30
		build = min(build, writable(dir))
	}
	return engine.Resources{StoreFree: writable(x.storeDir()), BuildFree: build, OOMKills: x.oomKills()}
}

// lowDisk is so little free space that it may be why a command failed: what Nix itself takes for too little.
const lowDisk = 8 << 20

// hintFull adds to the error of a command that a file system is full, where it is. Nix's own words may be of a database
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

// root is the directory that Nix's store is below: that of a store such as "local?root=/mnt", else empty.
func (x *Executor) root() string {
	_, parameters, _ := strings.Cut(x.variable("NIX_REMOTE", ""), "?")
	for p := range strings.SplitSeq(parameters, "&") {
		if root, ok := strings.CutPrefix(p, "root="); ok {
			return root
		}
	}
	return ""
}

// storeDir is where the store's files are.
func (x *Executor) storeDir() string { return x.root() + string(nix.StoreDir) }

func isDir(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// writable returns how many bytes can still be written below a directory; -1 where that is not known, and 0 where no
// further file can be made. Root may write what is reserved too.
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

// oomKills returns how many processes the kernel has ended for want of memory where builders run: in the control group
// of this process, or of the daemon. Where a group has no count, as the root has none, it is the whole machine's.
func (x *Executor) oomKills() int64 {
	group := ""
	if x.machine.daemon {
		group = "/system.slice/nix-daemon.service"
	} else if data, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		_, group, _ = strings.Cut(strings.TrimSpace(lastLine(string(data))), "::")
	}
	if data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", group, "memory.events")); err == nil {
		if n, ok := counter(string(data), "oom_kill"); ok {
			return n
		}
	}
	if data, err := os.ReadFile("/proc/vmstat"); err == nil {
		if n, ok := counter(string(data), "oom_kill"); ok {
			return n
		}
	}
	return -1
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// counter finds a line such as "oom_kill 3".
func counter(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
