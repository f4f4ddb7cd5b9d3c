package flake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// view is a repository of this program through which git reads a checkout. It borrows the checkout's objects, links to its
// references, has a copy of its index, and only the harmless settings of its configuration.
//
// git runs programs that a repository's configuration names: filters, hooks, monitors, the ssh of a partial clone. The
// checkout may be untrusted, so that git never runs with its configuration.
type view struct {
	*repository
	checkout checkout
	files    gitDir
	remote   string // the URL of the remote "origin", which may hold credentials; empty if there is none
}

// open makes the view of a checkout whose owner is trusted.
func (c checkout) open(ctx context.Context, user git) (*view, error) {
	v, own, err := c.view(ctx, user)
	if err != nil {
		return nil, err
	}
	return v, c.checkOwner(v.files, own["safe.directory"], user.lookup("SUDO_UID"))
}

// view makes the view of a checkout, and returns the user's settings.
func (c checkout) view(ctx context.Context, user git) (_ *view, own map[string][]string, err error) {
	files, err := c.gitDir()
	if err != nil {
		return nil, nil, err
	}
	repo, err := newRepository(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	v := &view{repository: repo, checkout: c, files: files}
	if own, err = v.config(ctx, user); err != nil {
		return nil, nil, err
	}
	if err := v.configure(ctx, own); err != nil {
		return nil, nil, err
	}
	if err := v.link(v.user.ignoreFile(own["core.excludesfile"])); err != nil {
		return nil, nil, fmt.Errorf("read git directory of %s: %w", c.top, err)
	}
	return v, own, v.borrow(filepath.Join(files.common, "objects"))
}

var (
	// harmless matches the settings that determine how a working tree is compared with a commit, and how references are
	// stored. None of them names a program or a file.
	harmless = regexp.MustCompile(`^(core\.(autocrlf|checkstat|eol|filemode|ignorecase|precomposeunicode|symlinks|trustctime)|extensions\.(objectformat|refstorage))$`)
	// plainValue matches their values.
	plainValue = regexp.MustCompile(`^[A-Za-z0-9]*$`)
)

// configure writes the harmless settings of the user and of the checkout into the view's configuration, and reads the
// checkout's remote.
func (v *view) configure(ctx context.Context, own map[string][]string) error {
	checkoutSettings := map[string][]string{}
	if file := filepath.Join(v.files.common, "config"); isFile(file) {
		var err error
		if checkoutSettings, err = v.config(ctx, v.neutral, "--no-includes", "--file", file); err != nil {
			return err
		}
	}
	var config bytes.Buffer
	for _, settings := range []map[string][]string{own, checkoutSettings} { // the last one counts
		for name, values := range settings {
			if value := values[len(values)-1]; harmless.MatchString(name) && plainValue.MatchString(value) {
				section, key, _ := strings.Cut(name, ".")
				fmt.Fprintf(&config, "[%s]\n\t%s = %s\n", section, key, value)
			}
		}
	}
	if len(checkoutSettings["extensions.objectformat"])+len(checkoutSettings["extensions.refstorage"]) > 0 {
		config.WriteString("[core]\n\trepositoryformatversion = 1\n")
	}
	if urls := checkoutSettings["remote.origin.url"]; len(urls) > 0 {
		// The user may have abbreviations for URLs (url.<base>.insteadOf).
		url, err := v.user.output(ctx, v.dir, v.bare("ls-remote", "--get-url", "--", urls[0])...)
		if err != nil {
			return err
		}
		v.remote = url
	}
	return appendFile(filepath.Join(v.dir, "config"), config.Bytes())
}

// config runs git config --list in the view and returns the values of each setting, in order.
func (v *view) config(ctx context.Context, g git, options ...string) (map[string][]string, error) {
	entries, err := g.list(ctx, v.dir, v.bare(slices.Concat([]string{"config", "--null", "--list"}, options)...)...)
	if err != nil {
		return nil, err
	}
	settings := map[string][]string{}
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "\n")
		settings[name] = append(settings[name], value)
	}
	return settings, nil
}

// link adds to the view the other files that git reads of a git directory. It links large files and copies small ones.
func (v *view) link(ignored []byte) error {
	head, err := regular.Read(filepath.Join(v.files.private, "HEAD"), maxSmallFile)
	if err != nil {
		return err
	}
	exclude, err := regular.Read(filepath.Join(v.files.common, "info", "exclude"), maxSmallFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info := filepath.Join(v.dir, "info")
	err = errors.Join(
		os.WriteFile(filepath.Join(v.dir, "HEAD"), head, 0o644),
		os.RemoveAll(filepath.Join(v.dir, "refs")),
		os.Symlink(filepath.Join(v.files.common, "refs"), filepath.Join(v.dir, "refs")),
		os.MkdirAll(info, 0o755),
		os.WriteFile(filepath.Join(info, "exclude"), slices.Concat(ignored, []byte("\n"), exclude), 0o644),
	)
	if err != nil {
		return err
	}
	if v.files.private != v.files.common && isDir(filepath.Join(v.files.private, "reftable")) {
		// Its HEAD and the shared references are in two tables. Git joins them only in the checkout's own git directory.
		return hint.Wrap(errors.New("a linked worktree with reference storage reftable is not supported"),
			"use the main working tree, or a clone: git clone %s DIRECTORY", v.checkout.top)
	}
	for _, name := range []string{"packed-refs", "reftable", "shallow"} {
		if from := filepath.Join(v.files.common, name); isFile(from) || isDir(from) {
			err = errors.Join(err, os.Symlink(from, filepath.Join(v.dir, name)))
		}
	}
	shared, _ := filepath.Glob(filepath.Join(v.files.private, "sharedindex.*")) // of a split index
	for _, from := range shared {
		err = errors.Join(err, os.Symlink(from, filepath.Join(v.dir, filepath.Base(from))))
	}
	return errors.Join(err, copyIndex(filepath.Join(v.files.private, "index"), filepath.Join(v.dir, "index")))
}

// copyIndex copies the index, if there is one, with its time: git compares files that are not older by their contents.
func copyIndex(from, to string) error {
	src, err := regular.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close(), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// appendFile appends to a file.
func appendFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// worktree returns the arguments of git for the view and the checkout's working tree.
func (v *view) worktree(args ...string) []string {
	return append([]string{"--git-dir=" + v.dir, "--work-tree=" + v.checkout.top, "-c", "core.bare=false"}, args...)
}
