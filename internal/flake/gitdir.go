package flake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// gitDir has the directories of a repository on this machine. Their files are read as data. Git never runs on them, since
// their configuration can start programs, and another user may have written it. See [view].
type gitDir struct {
	private string // of HEAD and the index; a linked worktree has its own
	common  string // of objects, references and configuration
}

// maxSmallFile is the maximum size of files in a git directory that have a few lines.
const maxSmallFile = 1 << 20

// findCheckout finds the repository of a directory as Nix does: by the entry .git of the nearest directory that has one.
// A directory that looks like a bare repository counts as one only outside of a checkout, or if the reference is to a
// repository: inside a checkout it may be a committed directory.
func findCheckout(dir string, explicit bool) (checkout, bool) {
	bare := checkout{top: dir, bare: true}
	if explicit && looksBare(dir) {
		return bare, true
	}
	for top := dir; ; top = filepath.Dir(top) {
		if _, err := os.Lstat(filepath.Join(top, ".git")); err == nil {
			return checkout{top: top}, true
		}
		if top == filepath.Dir(top) {
			return bare, looksBare(dir)
		}
	}
}

// InCheckout returns the path of a directory below the top of its Git checkout; "." for the top itself.
func InCheckout(dir string) (path string, ok bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	dir = Resolve(dir)
	c, ok := findCheckout(dir, false)
	if !ok || c.bare {
		return "", false
	}
	path, err = filepath.Rel(c.top, dir)
	return path, err == nil
}

func looksBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// gitDir finds the directories of the checkout's repository. In a linked worktree, a submodule and a clone with a separate
// git directory, .git is a file that names the directory.
func (c checkout) gitDir() (gitDir, error) {
	own := c.top
	if !c.bare {
		own = filepath.Join(c.top, ".git")
		if info, err := os.Stat(own); err == nil && info.Mode().IsRegular() {
			line, err := readLineOf(own)
			if err != nil {
				return gitDir{}, err
			}
			name, ok := strings.CutPrefix(line, "gitdir: ")
			if !ok {
				return gitDir{}, fmt.Errorf("%s does not name a git directory", own)
			}
			own = joinUnlessAbsolute(c.top, name)
		}
	}
	d := gitDir{own, own}
	switch common, err := readLineOf(filepath.Join(own, "commondir")); {
	case err == nil:
		d.common = joinUnlessAbsolute(own, common)
	case !errors.Is(err, fs.ErrNotExist):
		return gitDir{}, err
	}
	if !isDir(filepath.Join(d.common, "objects")) || !isFile(filepath.Join(d.private, "HEAD")) {
		return gitDir{}, fmt.Errorf("%s is not a git repository", c.top)
	}
	return d, nil
}

// joinUnlessAbsolute returns a path that may be relative to a directory.
func joinUnlessAbsolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// readLineOf returns the first line of a small file.
func readLineOf(name string) (string, error) {
	data, err := regular.Read(name, maxSmallFile)
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), err
}

// checkOwner refuses a repository of another user, as git does: it may be above a directory of this user, and would then
// determine what is built. Root may use repositories of the user who ran sudo. The user's setting safe.directory
// lists exceptions.
func (c checkout) checkOwner(d gitDir, safe []string, sudo string) error {
	for _, entry := range safe {
		prefix, all := strings.CutSuffix(entry, "*")
		if filepath.Clean(entry) == c.top || all && strings.HasPrefix(c.top, prefix) {
			return nil
		}
	}
	for _, name := range []string{c.top, d.private, d.common} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		owner, self := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid()
		if owner != self && (self != 0 || strconv.Itoa(owner) != sudo) {
			return hint.Wrap(fmt.Errorf("%s belongs to another user (uid %d)", name, owner),
				"if you trust its owner: git config --global --add safe.directory %s", c.top)
		}
	}
	return nil
}
