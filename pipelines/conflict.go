package pipelines

import (
	"context"
	"io"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// maxExamined is how many conflicts are looked into. Where many paths differ, they do for the same reason.
const maxExamined = 3

// agree returns a [*ConflictError] where a holder has one of the paths with other contents than infos say.
// KeepOurs returns what keeps our own contents of a path, to be compared.
func (r *Release) agree(ctx context.Context, system matrix.System, h run.NARHasher, infos []nix.PathInfo, keepOurs func(nix.StorePath) keeper) error {
	theirs, err := h.Infos(ctx, pathsOf(infos))
	if err != nil {
		return err
	}
	conflict := &ConflictError{System: system, Cache: h.Name()}
	for _, info := range infos {
		other, ok := theirs[info.Path]
		if !ok || info.NARHash.IsZero() {
			continue
		}
		c, differs := compareInfos(other, info)
		if !differs {
			continue
		}
		if c.Theirs != c.Ours && len(conflict.Conflicts) < maxExamined {
			c.Kept, c.Files, c.Page = r.look(ctx, info.Path, r.keepDump(h, info.Path.Base()+".theirs", info.Path), keepOurs(info.Path))
		}
		conflict.Conflicts = append(conflict.Conflicts, c)
	}
	if len(conflict.Conflicts) == 0 {
		return nil
	}
	err = conflict
	advice := "find out which of the two is right, and why a build is not the same each time: go run ./ci build --rebuild …"
	if !slices.ContainsFunc(conflict.Conflicts, func(c run.Conflict) bool { return c.Theirs != c.Ours }) {
		advice = "the contents are the same, so that the narinfo of one side is wrong: compare it with nix-store --query --references PATH"
	}
	for _, c := range conflict.Conflicts {
		err = hintKept(err, c.Path.Name(), c.Kept, c.Page)
	}
	return hint.Wrap(err, "nothing was overwritten: %s", advice)
}

// compareInfos says in what a cache's info of a path and ours differ: in the contents, or in the references, which the
// contents do not tell: Nix would fetch the object without what it needs, or with what it does not.
func compareInfos(theirs, ours nix.PathInfo) (c run.Conflict, differs bool) {
	c = run.Conflict{Path: ours.Path, Theirs: theirs.NARHash.SRI(), Ours: ours.NARHash.SRI()}
	a, b := nix.SortedPaths(theirs.References), nix.SortedPaths(ours.References)
	if !slices.Equal(a, b) {
		c.References = &run.ReferencesConflict{Theirs: append([]nix.StorePath{}, a...), Ours: append([]nix.StorePath{}, b...)}
	}
	return c, c.Theirs != c.Ours || c.References != nil
}

// keepDump returns what keeps a store object of a cache as a side of a comparison.
func (r *Release) keepDump(d run.NARSource, name string, path nix.StorePath) keeper {
	return func(ctx context.Context) (string, error) {
		return r.Rebuild.Evidence.KeepNAR(ctx, name, func(ctx context.Context, w io.Writer) error { return d.Dump(ctx, w, path) })
	}
}

// agreeWithStore compares a closure with what the store that the run exports into has of it.
func (r *Release) agreeWithStore(ctx context.Context, x engine.Executor, cell matrix.Cell, infos []nix.PathInfo) error {
	return r.agree(ctx, cell.System, r.Store, infos, func(path nix.StorePath) keeper {
		return r.keepFrom(x, "ours", path)
	})
}

// choice is what has to be the same on both sides: of what a push is about, and of what the cache has of it.
type choice func(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo

// allHeld chooses all that the cache has. A run has built some of it, and who knows which.
func allHeld(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo {
	held := setOf(there)
	return slices.DeleteFunc(slices.Clone(infos), func(i nix.PathInfo) bool { return !held[i.Path] })
}

// maxRoots bounds what is asked of the public side where nothing may have to be sent: to compare a path costs a request.
// Who pushes more than that mirrors a cache, and has no outputs to compare.
const maxRoots = 100

// edgeHeld chooses, of what the cache has, what the objects that go up refer to, and what no other object refers to:
// the outputs that somebody wants to be published. What lies below was compared by the run that has built it.
func edgeHeld(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo {
	held, edge := setOf(there), map[nix.StorePath]bool{}
	for _, i := range infos {
		for _, reference := range i.References {
			if reference != i.Path && !held[i.Path] {
				edge[reference] = true
			}
		}
	}
	for root := range rootsOf(infos) {
		edge[root] = true
	}
	return slices.DeleteFunc(allHeld(infos, there), func(i nix.PathInfo) bool { return !edge[i.Path] })
}

func setOf(paths []nix.StorePath) map[nix.StorePath]bool {
	set := make(map[nix.StorePath]bool, len(paths))
	for _, path := range paths {
		set[path] = true
	}
	return set
}

// agreeWithPublic compares objects with what the public side of the cache has under their paths.
func (r *Release) agreeWithPublic(ctx context.Context, system matrix.System, infos []nix.PathInfo) error {
	if r.Publish.Holder == nil || len(infos) == 0 {
		return nil
	}
	return r.agree(ctx, system, r.Publish.Holder, infos, func(path nix.StorePath) keeper {
		return r.keepDump(r.Publish.From, path.Base()+".ours", path)
	})
}
