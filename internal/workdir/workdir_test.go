package workdir

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// role makes this test program another process of a test.
const role = "WORKDIR_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "run": // makes a directory and holds it until it is killed
		d, err := Make("", "run")
		if err != nil {
			panic(err)
		}
		err = errors.Join(os.MkdirAll(d.Path+"/a/b", 0o755), os.WriteFile(d.Path+"/a/b/file", nil, 0o444), os.Chmod(d.Path+"/a/b", 0o555))
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(d.Path + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
	case "mount": // in a new mount namespace
		dir := os.Getenv("WORKDIR_TEST_DIR")
		if err := syscall.Mount(filepath.Join(dir, "victim"), filepath.Join(dir, prefix+"run-1", "root"), "", syscall.MS_BIND, ""); err != nil {
			panic(err)
		}
		RemoveDead(dir)
	default:
		os.Exit(m.Run())
	}
}

// start starts a run, and returns it with its directory.
func start(t *testing.T, parent string) (kill func(), path string) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), role+"=run", "TMPDIR="+parent)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = stdin.Close()
	}
	t.Cleanup(kill)
	path, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return kill, strings.TrimSpace(path)
}

// The directory of a killed run is removed, read-only parts too. That of a run that is under way stays.
func TestRemoveDead(t *testing.T) {
	parent := t.TempDir()
	kill, dead := start(t, parent)
	_, alive := start(t, parent)
	RemoveDead(parent)
	if !exists(dead) || !exists(alive) {
		t.Fatal("the directory of a run that is under way is removed")
	}
	kill()
	RemoveDead(parent)
	if exists(dead) || !exists(filepath.Join(alive, "a/b/file")) {
		t.Errorf("of the killed run: %v, of the other one: %v", exists(dead), exists(alive))
	}
}

// Nothing else is removed: other names, links, files, and directories of other users.
func TestRemoveDeadKeepsOtherDirectories(t *testing.T) {
	parent := t.TempDir()
	name := func(base string) string { return filepath.Join(parent, base) }
	if err := errors.Join(
		os.MkdirAll(name("victim/sub"), 0o755),
		os.Mkdir(name("open-sesame-ci-123"), 0o755), // of an earlier version, which holds no lock
		os.Symlink("victim", name(prefix+"link")),
		os.WriteFile(name(prefix+"file"), nil, 0o644),
		os.Mkdir(name(prefix+"foreign"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	kept := []string{"victim/sub", "open-sesame-ci-123", prefix + "link", prefix + "file"}
	if os.Geteuid() == 0 {
		if err := os.Chown(name(prefix+"foreign"), 4711, 4711); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, prefix+"foreign")
	}
	RemoveDead(parent)
	for _, base := range kept {
		if !exists(name(base)) {
			t.Errorf("%s is removed", base)
		}
	}
}

// A killed run may leave links and mount points. Their targets are not removed.
func TestRemoveDeadFollowsNoLinks(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, prefix+"run-1")
	victim := filepath.Join(parent, "victim")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "root"), 0o755), os.Mkdir(victim, 0o755),
		os.WriteFile(filepath.Join(victim, "file"), nil, 0o644), os.Symlink(victim, filepath.Join(dir, "link")),
	); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), role+"=mount", "WORKDIR_TEST_DIR="+parent)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := c.CombinedOutput(); err != nil {
		t.Logf("mount points are not tried: %v\n%.200s", err, out)
	} else if !exists(dir) || !exists(filepath.Join(victim, "file")) {
		t.Error("files that are mounted below the directory are removed")
	}
	RemoveDead(parent)
	if exists(dir) || !exists(filepath.Join(victim, "file")) {
		t.Error("the directory is not removed, or the target of a link is")
	}
}

// If other users can rename directories, one with the name of a working directory may be any directory of this user.
func TestRemoveDeadInASharedDirectory(t *testing.T) {
	for mode, removed := range map[os.FileMode]bool{0o777: false, 0o775: false, 0o777 | os.ModeSticky: true, 0o755: true} {
		parent := filepath.Join(t.TempDir(), "tmp")
		renamed := filepath.Join(parent, prefix+"renamed")
		if err := errors.Join(os.MkdirAll(renamed, 0o755), os.Chmod(parent, mode)); err != nil {
			t.Fatal(err)
		}
		if RemoveDead(parent); exists(renamed) == removed {
			t.Errorf("%v: removed is %v, want %v", mode, !removed, removed)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	parent := filepath.Join(t.TempDir(), "tmp")
	renamed := filepath.Join(parent, prefix+"renamed")
	if err := errors.Join(os.MkdirAll(renamed, 0o755), os.Chown(parent, 4711, 4711)); err != nil {
		t.Fatal(err)
	}
	if RemoveDead(parent); !exists(renamed) {
		t.Error("a directory in that of another user is removed")
	}
}

func TestMountBelow(t *testing.T) {
	const table = "22 1 0:21 / /proc rw - proc proc rw\n23 1 8:1 /x /tmp/a\\040b/root rw - ext4 /dev/sda rw\n"
	for path, want := range map[string]string{"/tmp/a b": "/tmp/a b/root", "/tmp/a b/root": "/tmp/a b/root", "/tmp/a": "", "/tmp/a b/r": ""} {
		if got := mountBelow(table, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestRemove(t *testing.T) {
	d, err := Make(t.TempDir(), "run")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(d.Path, "a/b"), 0o555); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(); err != nil || exists(d.Path) {
		t.Errorf("%v", err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
