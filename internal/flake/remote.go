package flake

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// remote takes the snapshot of a commit of a repository on another machine.
func (t *Snapshotter) remote(ctx context.Context, g git, tree *tree) (Snapshot, error) {
	clone := t.Ref.CloneURL()
	repo, err := newRepository(ctx, g)
	if err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Subdir: t.Ref.Dir}
	if s.Rev, err = repo.fetch(ctx, clone, t.revision()); err != nil {
		return Snapshot{}, err
	}
	if s.LastModified, err = repo.commitTime(ctx, s.Rev); err != nil {
		return Snapshot{}, err
	}
	ref := t.Ref
	if ref.Kind == KindGit {
		if ref, err = RemoteRef(clone); err != nil {
			return Snapshot{}, err
		}
	}
	if t.Ref.Kind == KindGit {
		flake, err := repo.flakeFile(ctx, s.Rev, s.Subdir)
		if err != nil {
			return Snapshot{}, err
		}
		if t, err = t.withSelf(flake); err != nil {
			return Snapshot{}, err
		}
	}
	s.URL = t.locked(ref, s.Rev, s.Subdir)
	return s, t.fromCommit(ctx, tree, origin{repository: repo, url: clone}, s.Rev)
}

var abbreviatedRev = regexp.MustCompile(`^[0-9a-f]{4,39}$`)

// fetch makes the commit of a revision of a remote available in r, with as few other objects as the remote allows. It
// returns the commit's full hash.
func (r *repository) fetch(ctx context.Context, url, revision string) (string, error) {
	bare, err := newRepository(ctx, r.user)
	if err != nil {
		return "", err
	}
	rev, err := (&remoteRepository{bare, url}).fetch(ctx, revision)
	if err != nil {
		return "", err
	}
	return rev, r.borrow(filepath.Join(bare.dir, "objects"))
}

// remoteRepository is a repository for the objects of a remote. Archives come from another one that borrows them: where
// export-subst asks for the names of a commit, git would print the references of this one, and that it is shallow.
type remoteRepository struct {
	*repository
	url string // may hold credentials
}

// fetch fetches the commit of a revision. A tag takes precedence over a branch of the same name, and both over an
// abbreviated commit, as in git itself.
func (d *remoteRepository) fetch(ctx context.Context, revision string) (string, error) {
	switch {
	case revision == "":
		return d.fetchRef(ctx, "HEAD")
	case fullRev.MatchString(revision):
		return d.fetchCommit(ctx, revision)
	case strings.HasPrefix(revision, "-") || strings.ContainsAny(revision, "*: \n"):
		return "", noSuchRevision(revision, nil, "give the name of a tag or branch, or a commit")
	}
	candidates := []string{"refs/tags/" + revision, "refs/heads/" + revision}
	if strings.HasPrefix(revision, "refs/") {
		candidates = []string{revision}
	}
	_, found, err := d.list(ctx, candidates...)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(candidates, func(ref string) bool { return slices.Contains(found, ref) }); i >= 0 {
		return d.fetchRef(ctx, candidates[i])
	}
	if abbreviatedRev.MatchString(revision) {
		return d.fetchCommit(ctx, revision)
	}
	_, all, err := d.list(ctx, "refs/tags/*", "refs/heads/*")
	if err != nil {
		return "", err
	}
	return "", noSuchRevision(revision, shortRefs(all), "push it first")
}

// list returns the commits and the full names of the remote's references that match one of the patterns. The commit of an
// annotated tag has another name, with the suffix "^{}".
func (d *remoteRepository) list(ctx context.Context, patterns ...string) (commits, names []string, err error) {
	args := append([]string{"ls-remote", "--quiet", "--", d.url}, patterns...)
	out, err := d.user.output(ctx, d.dir, d.bare(args...)...)
	for line := range strings.Lines(out) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			commits, names = append(commits, commit), append(names, name)
		}
	}
	return commits, names, err
}

// fetchRef fetches a reference, and returns its commit.
func (d *remoteRepository) fetchRef(ctx context.Context, ref string) (string, error) {
	err := d.fetchShallow(ctx, ref)
	if failedWith(err, "couldn't find remote ref HEAD") {
		return "", hint.Wrap(err, "the repository is empty, or its default branch does not exist: give a branch with --ref")
	}
	if err != nil {
		return "", err
	}
	return d.peel(ctx, "FETCH_HEAD")
}

// fetchCommit fetches a commit by its hash. A server may refuse a commit that no reference points to, and knows no
// abbreviated hashes. Then it fetches all branches and tags.
func (d *remoteRepository) fetchCommit(ctx context.Context, rev string) (string, error) {
	if fullRev.MatchString(rev) {
		err := d.fetchShallow(ctx, rev)
		if err == nil {
			return d.peel(ctx, rev)
		}
		if !failedWith(err, "not our ref", "unadvertised object", "no such remote ref") {
			return "", err
		}
	}
	if err := d.run(ctx, nil, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return "", err
	}
	full, err := d.peel(ctx, rev)
	if failedWith(err, "is ambiguous") {
		return "", err
	}
	if err != nil {
		return "", noSuchRevision(rev, nil, "push it first: no branch or tag of the remote leads to it")
	}
	return full, nil
}

// fetchShallow fetches one commit without its history, if the server can do that.
func (d *remoteRepository) fetchShallow(ctx context.Context, what string) error {
	err := d.run(ctx, []string{"--depth=1"}, what)
	if failedWith(err, "does not support shallow", "dumb http transport") {
		return d.run(ctx, nil, what)
	}
	return err
}

// run runs git fetch, without the hooks and the housekeeping of the user's configuration. A partial fetch needs a named
// remote; its URL is only in the arguments, since it may hold credentials.
func (d *remoteRepository) run(ctx context.Context, options []string, refspecs ...string) error {
	args := d.bare(slices.Concat([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "remote.origin.url=" + d.url, "-c", "fetch.negotiationAlgorithm=noop",
		"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc",
	}, options, []string{"--", "origin"}, refspecs)...)
	_, err := d.user.output(ctx, d.dir, args...)
	return err
}

// peel returns the full hash of the commit that a revision names, which may be an annotated tag.
func (d *remoteRepository) peel(ctx context.Context, revision string) (string, error) {
	rev, err := d.neutral.output(ctx, d.dir, d.bare("rev-parse", "--verify", revision+"^{commit}")...)
	if err != nil {
		return "", err
	}
	return rev, checkRev(rev)
}

// shortRefs returns the short names of tags and branches, each once.
func shortRefs(refs []string) []string {
	var names []string
	for _, ref := range refs {
		if _, name, ok := strings.Cut(strings.TrimPrefix(ref, "refs/"), "/"); ok {
			names = append(names, strings.TrimSuffix(name, "^{}"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
