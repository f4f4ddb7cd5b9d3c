package flake

import (
	"bufio"
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
	inTree := func(files ...string) []string {
		for i, file := range files {
			files[i] = path.Join(s.Subdir, file)
		}
		return files
	}
	if p.remote != nil {
		if err := p.remote.fetchFiles(ctx, p.rev, inTree(slices.Clone(files)...), inTree(append(slices.Clone(files), further)...)); err != nil {
			return false, err
		}
	}
	whole, err := p.visit(ctx, p.rev, inTree(slices.Clone(files)...), func(commit string, read func(string) ([]byte, error)) (bool, error) {
		return visit(commit, func(file string) ([]byte, error) { return read(path.Join(s.Subdir, file)) })
	})
	if err == nil && !whole {
		err = p.incomplete
	}
	return whole, err
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

// fetchFiles fetches some files of the commits that changed others.
func (d *remoteRepository) fetchFiles(ctx context.Context, rev string, changed, files []string) error {
	commits, err := d.neutral.output(ctx, d.dir, d.bare(logOf(rev, changed)...)...)
	if err != nil {
		return err
	}
	var blobs []string
	for _, commit := range strings.Fields(commits) {
		list, err := d.neutral.output(ctx, d.dir, d.bare(append([]string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--"}, files...)...)...)
		if err != nil {
			return err
		}
		for entry := range strings.SplitSeq(list, "\x00") {
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

// logOf returns the arguments of a git log that lists the commits which changed one of the files.
func logOf(rev string, files []string) []string {
	args := []string{"--literal-pathspecs", "log", "--first-parent", "--format=%H", fmt.Sprintf("--max-count=%d", maxCommits), rev, "--"}
	return append(args, files...)
}

// errEnough ends the list of commits when no more are needed.
var errEnough = errors.New("enough")

// visit lists the commits and visits each. It returns false where commits are missing: after [maxCommits], and in a
// shallow clone, whose oldest commit seems to add all files.
func (r *repository) visit(ctx context.Context, rev string, files []string, visit Visit) (whole bool, err error) {
	visited := 0
	list := func(out io.Reader) error {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			commit := lines.Text()
			if err := checkRev(commit); err != nil {
				return err
			}
			visited++
			read := func(file string) ([]byte, error) { return r.blob(ctx, commit, file, maxFileSize) }
			more, err := visit(commit, read)
			if err != nil {
				return err
			}
			if !more {
				return errEnough
			}
		}
		return lines.Err()
	}
	err = r.neutral.stream(ctx, r.dir, list, r.bare(logOf(rev, files)...)...)
	if err == errEnough {
		return true, nil
	}
	return err == nil && visited < maxCommits && !r.isShallow(), err
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
