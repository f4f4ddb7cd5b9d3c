package flake

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// origin is a repository with its URL, to which the URLs of its submodules are relative.
type origin struct {
	*repository
	url     string // may hold credentials
	modules string // the git directories of its submodules on this machine; empty for a remote
}

// submodule is a submodule of some commit.
type submodule struct {
	path, rev string
	name, url string // of .gitmodules
}

// maxNesting is how deep submodules may be nested. A repository can be its own submodule.
const maxNesting = 16

// fromCommit adds the tree of a commit and, if the reference has submodules, those of its submodules.
//
// An archive of a forge has an empty directory for each submodule. A consumer with submodules clones the repository, and
// export-ignore does not filter a clone.
func (t *Snapshotter) fromCommit(ctx context.Context, tree *tree, o origin, rev string) error {
	if !t.Ref.Submodules {
		return o.archive(ctx, tree, rev, "")
	}
	return o.addRecursively(ctx, tree, rev, "", 0)
}

// addRecursively adds the tree of a commit with its submodules to a tree.
func (o origin) addRecursively(ctx context.Context, tree *tree, rev, prefix string, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("submodule %s: nested too deeply", prefix)
	}
	if err := o.raw(); err != nil {
		return err
	}
	if err := o.archive(ctx, tree, rev, prefix); err != nil {
		return err
	}
	subs, err := o.submodules(ctx, rev)
	if err != nil {
		return err
	}
	for _, sub := range subs {
		within := path.Join(prefix, sub.path)
		child, err := o.open(ctx, sub)
		if err != nil {
			return fmt.Errorf("submodule %s: %w", within, err)
		}
		if err := child.addRecursively(ctx, tree, sub.rev, within, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// submodules returns the submodules of a commit, in the order of their paths.
func (r *repository) submodules(ctx context.Context, rev string) ([]submodule, error) {
	entries, err := r.neutral.list(ctx, r.dir, r.bare("ls-tree", "-r", "-z", rev)...)
	if err != nil {
		return nil, err
	}
	var subs []submodule
	for _, entry := range entries {
		meta, name, _ := strings.Cut(entry, "\t")
		if f := strings.Fields(meta); len(f) == 3 && f[0] == "160000" {
			subs = append(subs, submodule{path: name, rev: f[2]})
		}
	}
	if len(subs) == 0 {
		return nil, nil
	}
	settings, err := r.neutral.list(ctx, r.dir, r.bare("config", "--null", "--blob", rev+":.gitmodules", "--get-regexp", `^submodule\..*\.(path|url)$`)...)
	if err != nil {
		return nil, fmt.Errorf("read .gitmodules: %w", err)
	}
	byPath := gitmodules(settings)
	for i, sub := range subs {
		m, ok := byPath[sub.path]
		if !ok || m.url == "" {
			return nil, fmt.Errorf("submodule %s: not in .gitmodules", sub.path)
		}
		// A name becomes the path of a git directory: https://nvd.nist.gov/vuln/detail/CVE-2018-11235.
		if !filepath.IsLocal(m.name) || strings.HasPrefix(m.url, "-") {
			return nil, fmt.Errorf("submodule %s: name %q or its URL is not allowed", sub.path, m.name)
		}
		subs[i].name, subs[i].url = m.name, m.url
	}
	return subs, nil
}

// gitmodules parses paths and URLs in entries of git config --null: a key, a line break and its value. It returns the names
// and URLs of the submodules by path.
func gitmodules(settings []string) map[string]submodule {
	byName := map[string]submodule{}
	for _, pair := range settings {
		key, value, _ := strings.Cut(pair, "\n")
		dot := strings.LastIndexByte(key, '.')
		name, ok := strings.CutPrefix(key[:max(dot, 0)], "submodule.")
		if !ok {
			continue
		}
		sub := byName[name]
		sub.name = name
		switch key[dot:] {
		case ".path":
			sub.path = value
		case ".url":
			sub.url = value
		}
		byName[name] = sub
	}
	byPath := map[string]submodule{}
	for _, sub := range byName {
		byPath[sub.path] = sub
	}
	return byPath
}

// open finds a submodule's commit: in its repository on this machine, or else at its URL.
func (o origin) open(ctx context.Context, sub submodule) (origin, error) {
	// The URL does not come from the user: git's own policy (protocol.file.allow) determines whether it may be a local one.
	repo, err := newRepository(ctx, o.user.with("GIT_PROTOCOL_FROM_USER=0"))
	if err != nil {
		return origin{}, err
	}
	child := origin{repository: repo}
	if child.url, err = relativeURL(o.url, sub.url); err != nil {
		return origin{}, err
	}
	if o.modules != "" {
		dir := filepath.Join(o.modules, sub.name)
		if _, err := os.Stat(filepath.Join(dir, "objects")); err == nil {
			child.modules = filepath.Join(dir, "modules")
			if err := repo.borrow(filepath.Join(dir, "objects")); err != nil {
				return origin{}, err
			}
			if repo.has(ctx, sub.rev) {
				return child, nil
			}
		}
	}
	if dir, ok := localPath(child.url); ok {
		return child, repo.borrowLocal(ctx, dir, sub.rev)
	}
	_, err = repo.fetch(ctx, child.url, sub.rev)
	return child, err
}

// localPath returns the path of a URL that is on this machine.
func localPath(url string) (string, bool) {
	if path, ok := strings.CutPrefix(url, "file://"); ok {
		return path, true
	}
	colon, slash := strings.IndexByte(url, ':'), strings.IndexByte(url, '/')
	return url, colon < 0 || slash >= 0 && slash < colon // git's rule for the form of scp
}

// borrowLocal makes a commit of another repository on this machine available in r, if the user's policy for submodules
// allows that. git fetch would start a git in that repository, which reads its configuration.
func (r *repository) borrowLocal(ctx context.Context, dir, rev string) error {
	policy, err := r.user.output(ctx, r.dir, r.bare("config", "--default", "user", "--get", "protocol.file.allow")...)
	if err != nil {
		return err
	}
	if policy != "always" {
		return fmt.Errorf("fetch %s: transport 'file' not allowed", dir)
	}
	c, ok := findCheckout(dir, true)
	if !ok || c.top != dir {
		return fmt.Errorf("%s is not a git repository", dir)
	}
	v, err := c.open(ctx, r.user)
	if err != nil {
		return err
	}
	if err := r.borrow(filepath.Join(v.files.common, "objects")); err != nil {
		return err
	}
	if !r.has(ctx, rev) {
		return noSuchRevision(rev, nil, "update the repository at "+dir)
	}
	return nil
}

// relativeURL returns the URL of a submodule, which may be relative to that of its parent:
// https://git-scm.com/docs/git-submodule#Documentation/git-submodule.txt-add.
func relativeURL(base, rel string) (string, error) {
	if !strings.HasPrefix(rel, "./") && !strings.HasPrefix(rel, "../") {
		return rel, nil
	}
	if u, err := url.Parse(base); err == nil && u.Scheme != "" && u.Host+u.Path != "" {
		u.Path, u.RawPath, u.RawQuery = path.Join("/", u.Path, rel), "", ""
		return u.String(), nil
	}
	host, dir, ok := strings.Cut(base, ":") // the form of scp, or a path
	if !ok || strings.Contains(host, "/") {
		return filepath.Join(base, rel), nil
	}
	dir = path.Join(dir, rel)
	if strings.HasPrefix(dir, "..") {
		return "", errors.New("its URL leads above its host")
	}
	return host + ":" + dir, nil
}
