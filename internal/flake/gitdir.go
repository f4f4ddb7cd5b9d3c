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

// gitDir is where the files of a repository on this machine are. They are read as data: git never runs on them, since
// their configuration can start programs, and whoever has made the directory chooses it. See [view].
type gitDir struct {
	private string // HEAD and index; a linked worktree has a directory of its own for them
	common  string // objects, references and configuration
}

// maxSmallFile bounds files of a git directory that hold a line or a few.
const maxSmallFile = 1 << 20

// findCheckout finds the repository that a directory is or lies in, as Nix does: by the entry .git of the nearest
// directory that has one. A directory that looks like a bare repository is one only outside of any checkout, or where
// the reference says that it is a repository: inside of a checkout it is an ordinary directory, which anyone can commit.
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

func looksBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// gitDir finds the files of the checkout's repository. The entry .git of a linked worktree, of a submodule and of a
// clone with a separate git directory is a file that names the directory.
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

// within returns a path that may be relative to a directory.
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

// checkOwner refuses a repository of another user, as git does: it may lie above a directory that is this user's own,
// and would then decide what is built. Root may use those of the user who has called sudo. The user's list of safe
// directories (safe.directory) makes exceptions.
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
