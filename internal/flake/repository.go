package flake

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// repository is a bare repository of this program, for archives of commits. It borrows the objects of a checkout or of a
// remoteRepository. So the settings of a checkout do not change an archive: .git/info/attributes, filters and line endings
// in .git/config, replaced objects, grafts.
type repository struct {
	dir     string
	user    git // has the user's configuration, to reach a remote
	neutral git // has no configuration, so that all users get the same output
}

// checkRev refuses a commit of a repository with SHA-256, which flake references cannot name.
func checkRev(rev string) error {
	if !fullRev.MatchString(rev) {
		return fmt.Errorf("commit %s: flakes take SHA-1 repositories alone", rev)
	}
	return nil
}

// newRepository makes an empty repository.
func newRepository(ctx context.Context, user git) (*repository, error) {
	dir, err := os.MkdirTemp(user.scratch, "*.git")
	if err != nil {
		return nil, err
	}
	r := &repository{dir: dir, user: user, neutral: user.neutral(dir)}
	// No template: it could bring attributes and hooks.
	if _, err := r.neutral.output(ctx, dir, "init", "--quiet", "--bare", "--template=", "."); err != nil {
		return nil, err
	}
	return r, nil
}

// bare returns the arguments of git for this repository. The user may have forbidden git to find bare repositories by
// itself (safe.bareRepository).
func (r *repository) bare(args ...string) []string {
	return append([]string{"--git-dir=" + r.dir}, args...)
}

// borrow makes the objects of a repository on this machine available in r, without copying them.
func (r *repository) borrow(objects string) error {
	info := filepath.Join(r.dir, "objects", "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	if strings.HasPrefix(objects, `"`) || strings.Contains(objects, "\n") {
		objects = strconv.Quote(objects) // as git's own quoting, as long as it has no other control characters
	}
	return appendFile(filepath.Join(info, "alternates"), []byte(objects+"\n"))
}

// raw turns off export-ignore and export-subst, so that an archive has the files of a clone.
func (r *repository) raw() error {
	info := filepath.Join(r.dir, "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(info, "attributes"), []byte("* -export-ignore -export-subst\n"), 0o644)
}

// commitTime returns the committer's time of a commit in seconds since 1970: Nix's lastModified.
func (r *repository) commitTime(ctx context.Context, rev string) (int64, error) {
	// git show would fail in a shallow checkout, which lacks the parents.
	out, err := r.neutral.output(ctx, r.dir, r.bare("cat-file", "commit", rev)...)
	if err != nil {
		return 0, err
	}
	m := committer.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("commit %s has no time", rev)
	}
	return strconv.ParseInt(m[1], 10, 64)
}

// committer matches the line of a commit with its time. The first match is in the header, not in the message.
var committer = regexp.MustCompile(`(?m)^committer .*> (\d+) [+-]\d+$`)

// has reports whether the repository has a commit.
func (r *repository) has(ctx context.Context, rev string) bool {
	_, err := r.neutral.output(ctx, r.dir, r.bare("cat-file", "-e", rev+"^{commit}")...)
	return err == nil
}

// archive adds the tree of a commit to a tree, under a prefix.
func (r *repository) archive(ctx context.Context, tree *tree, rev, prefix string) error {
	untar := func(tar io.Reader) error {
		_, err := tree.untar(ctx, tar, prefix)
		return err
	}
	return r.neutral.stream(ctx, r.dir, untar, r.bare("archive", "--format=tar", rev)...)
}
