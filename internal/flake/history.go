package flake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// Visit is called with a commit, and a function that reads a file of the flake in that commit. The error of a file that
// the commit does not have wraps [fs.ErrNotExist]. Visit returns whether it needs the next commit.
type Visit = func(commit string, read func(file string) ([]byte, error)) (more bool, err error)

// Limits of History.
const (
	maxCommits  = 200  // that are visited
	maxDepth    = 1000 // of a remote's history that is fetched
	maxTime     = 20 * time.Second
	maxFileSize = 16 << 20
)

// History visits the commits that changed one of the flake's files, from the snapshot's commit back along first parents,
// so that a merge is one change. Visit reads these files and a further one. History returns whether it has visited all
// commits, or as many as visit needs.
//
// Git runs in a repository of this program. It borrows the objects of a checkout, see [view]; from a remote it fetches
// commits and trees, and only the files that visit reads.
func (t *Snapshotter) History(ctx context.Context, s Snapshot, files []string, further string, visit Visit) (complete bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("not done within %s", maxTime))
	defer cancel()
	complete, err = t.history(ctx, s, files, further, visit)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("read history of %s: %w", t.Ref, err)
	}
	return complete, nil
}

func (t *Snapshotter) history(ctx context.Context, s Snapshot, files []string, further string, visit Visit) (complete bool, err error) {
	g, err := t.newGit()
	if err != nil {
		return false, err
	}
	defer g.close()
	p, err := t.commitHistory(ctx, g, s)
	if err != nil {
		return false, err
	}
	var inTree []string
	for _, file := range append(slices.Clone(files), further) {
		inTree = append(inTree, path.Join(s.Subdir, file))
	}
	commits, err := p.log(ctx, p.rev, inTree[:len(files)])
	if err == nil && p.remote != nil {
		err = p.remote.fetchFiles(ctx, commits, inTree)
	}
	if err != nil {
		return false, err
	}
	for _, commit := range commits {
		more, err := visit(commit, func(file string) ([]byte, error) { return p.blob(ctx, commit, path.Join(s.Subdir, file), maxFileSize) })
		if err != nil || !more {
			return err == nil, err
		}
	}
	// In a shallow clone, the oldest commit seems to add all files.
	if len(commits) == maxCommits || p.isShallow() {
		return false, p.incomplete
	}
	return true, nil
}

// commitHistory is a repository with the history of a commit.
type commitHistory struct {
	*repository
	rev        string
	incomplete error             // why older commits are missing, where a hint can help
	remote     *remoteRepository // to fetch files from; nil if the repository has them
}

// commitHistory opens the history of the snapshot's commit.
func (t *Snapshotter) commitHistory(ctx context.Context, g git, s Snapshot) (commitHistory, error) {
	dir := t.localDir()
	switch {
	case t.Ref.Kind == KindPath:
		return commitHistory{}, errors.New("a path: reference has no history")
	case t.Ref.Kind == KindTarball:
		return commitHistory{}, errors.New("a tarball has no history")
	case dir == "":
		repo, err := newRepository(ctx, g)
		if err != nil {
			return commitHistory{}, err
		}
		d := &remoteRepository{repo, t.Ref.CloneURL()}
		return commitHistory{repository: repo, rev: s.Rev, remote: d}, d.fetchHistory(ctx, s.Rev)
	}
	v, err := openAt(ctx, g, dir)
	if err != nil {
		return commitHistory{}, err
	}
	rev := s.Rev
	if rev == "" {
		if rev, err = v.resolve(ctx, t.revision()); err != nil {
			return commitHistory{}, err
		}
	}
	if rev == "" {
		return commitHistory{}, errors.New("it has no commits")
	}
	p := commitHistory{repository: v.repository, rev: rev}
	if v.isShallow() {
		p.incomplete = hint.Wrap(errors.New("the clone is shallow"), "git fetch --unshallow; on GitHub Actions: fetch-depth: 0")
	}
	return p, nil
}

// fetchHistory fetches a commit and its ancestors with their trees.
func (d *remoteRepository) fetchHistory(ctx context.Context, rev string) error {
	return d.run(ctx, []string{"--filter=blob:none", fmt.Sprintf("--depth=%d", maxDepth)}, rev)
}

// fetchFiles fetches some files of the commits.
func (d *remoteRepository) fetchFiles(ctx context.Context, commits, files []string) error {
	var blobs []string
	for _, commit := range commits {
		entries, err := d.neutral.list(ctx, d.dir, d.bare(append([]string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--"}, files...)...)...)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			meta, _, _ := strings.Cut(entry, "\t")
			if fields := strings.Fields(meta); len(fields) == 3 && fields[1] == "blob" {
				blobs = append(blobs, fields[2])
			}
		}
	}
	slices.Sort(blobs)
	if blobs = slices.Compact(blobs); len(blobs) == 0 {
		return nil
	}
	return d.run(ctx, []string{"--filter=blob:none", "--no-write-fetch-head"}, blobs...)
}

// log returns the commits that changed one of the files, at most [maxCommits].
func (r *repository) log(ctx context.Context, rev string, files []string) ([]string, error) {
	args := []string{"--literal-pathspecs", "log", "--first-parent", "--format=%H", fmt.Sprintf("--max-count=%d", maxCommits), rev, "--"}
	out, err := r.neutral.output(ctx, r.dir, r.bare(append(args, files...)...)...)
	return strings.Fields(out), err
}

func (r *repository) isShallow() bool {
	info, err := os.Stat(filepath.Join(r.dir, "shallow"))
	return err == nil && info.Size() > 0
}

// blob returns a file of a commit, of at most limit bytes.
func (r *repository) blob(ctx context.Context, commit, file string, limit int64) ([]byte, error) {
	data, err := r.object(ctx, commit+":"+file, limit)
	if failedWith(err, "does not exist in", "exists on disk, but not in") {
		err = fs.ErrNotExist
	}
	if _, failed := errors.AsType[*gitError](err); err == nil || failed {
		return data, err
	}
	return nil, fmt.Errorf("read %s of %.7s: %w", file, commit, err)
}

// object returns the contents of a blob of at most limit bytes.
func (r *repository) object(ctx context.Context, name string, limit int64) (data []byte, err error) {
	read := func(out io.Reader) (err error) {
		data, err = io.ReadAll(io.LimitReader(out, limit+1))
		if err == nil && int64(len(data)) > limit {
			err = fmt.Errorf("it is larger than %d KiB", limit>>10)
		}
		return err
	}
	err = r.neutral.stream(ctx, r.dir, read, r.bare("cat-file", "blob", name)...)
	return data, err
}
