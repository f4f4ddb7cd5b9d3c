package flake

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Reachable reports whether a branch or tag of the flake's repository contains a commit. A server may have other commits: a
// forge stores those of all forks together. For a checkout, the branches and tags of its remote count, or its own if it has
// no remote.
//
// If no branch or tag points to the commit itself, Reachable fetches the history of all of them, without files.
func (t *Snapshotter) Reachable(ctx context.Context, rev string) (bool, error) {
	ok, err := t.reachable(ctx, rev)
	if err != nil {
		return false, fmt.Errorf("ask for the branches and tags of %s: %w", t.Ref, err)
	}
	return ok, nil
}

func (t *Snapshotter) reachable(ctx context.Context, rev string) (bool, error) {
	g, err := t.newGit()
	if err != nil {
		return false, err
	}
	defer g.close()
	url := t.Ref.CloneURL()
	if dir := t.localDir(); dir != "" {
		v, err := openAt(ctx, g, dir)
		if err != nil {
			return false, err
		}
		if url = v.remote; url == "" {
			return v.leadsTo(ctx, rev)
		}
		if dir, ok := localPath(url); ok {
			if v, err = openAt(ctx, g, joinUnlessAbsolute(v.checkout.top, dir)); err != nil {
				return false, err
			}
			return v.leadsTo(ctx, rev)
		}
		// The URL comes from the checkout, not from the user: git's own policy determines the protocols.
		g = g.with("GIT_PROTOCOL_FROM_USER=0")
	}
	bare, err := newRepository(ctx, g)
	if err != nil {
		return false, err
	}
	d := &remoteRepository{bare, url}
	if tips, _, err := d.list(ctx, "refs/heads/*", "refs/tags/*"); err != nil || slices.Contains(tips, rev) {
		return err == nil, err
	}
	if err := d.run(ctx, []string{"--filter=tree:0"}, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return false, err
	}
	return d.leadsTo(ctx, rev)
}

// openAt makes the view of the checkout of a directory.
func openAt(ctx context.Context, g git, dir string) (*view, error) {
	dir, err := realPath(dir)
	if err != nil {
		return nil, err
	}
	c, ok := findCheckout(dir, true)
	if !ok {
		return nil, errors.New("it is not a git repository")
	}
	return c.open(ctx, g)
}

// leadsTo reports whether a branch or tag of the repository contains a commit.
func (r *repository) leadsTo(ctx context.Context, rev string) (bool, error) {
	if !fullRev.MatchString(rev) {
		return false, fmt.Errorf("%q is not the full hash of a commit", rev)
	}
	out, err := r.neutral.output(ctx, r.dir, r.bare("for-each-ref", "--count=1", "--contains="+rev, "refs/heads", "refs/tags")...)
	if failedWith(err, "no such commit", "malformed object name") {
		return false, nil // it is not in the history of any of them
	}
	return out != "", err
}
