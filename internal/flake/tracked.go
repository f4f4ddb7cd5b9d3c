package flake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Tracked returns a tracked file in a directory of a checkout, or the directory itself if it is a tracked link; empty if
// there is none. The directory need not exist. Git runs with the environment env, on a view of the checkout in scratch. So
// the owner of the checkout does not matter: none of its programs run.
func Tracked(ctx context.Context, env []string, dir, scratch string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, name := range []string{dir, Resolve(dir)} {
		file, err := trackedIn(ctx, newGit("git", env, scratch), name)
		if err != nil {
			return "", fmt.Errorf("ask git whether it tracks files in %s: %w", dir, err)
		}
		if file != "" {
			return file, nil
		}
	}
	return "", nil
}

// trackedIn is Tracked without resolving the links of the path.
func trackedIn(ctx context.Context, user git, dir string) (string, error) {
	c, ok := findCheckout(dir, false)
	if !ok || c.bare {
		return "", nil
	}
	if _, err := c.gitDir(); err != nil {
		return "", nil // no repository, which tracks nothing
	}
	v, _, err := c.view(ctx, user)
	if err != nil {
		return "", err
	}
	args := []string{"ls-files", "-z", "--cached"}
	if relative, err := filepath.Rel(c.top, dir); err != nil {
		return "", err
	} else if relative != "." {
		args = append(args, "--", ":(top,literal)"+relative)
	}
	files, err := v.neutral.list(ctx, c.top, v.worktree(args...)...)
	if err != nil || len(files) == 0 {
		return "", err
	}
	return filepath.Join(c.top, files[0]), nil
}

// Resolve returns an absolute path without symbolic links, of which the last parts need not exist.
func Resolve(path string) string {
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			return path // a dangling link, or an unreadable directory
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
