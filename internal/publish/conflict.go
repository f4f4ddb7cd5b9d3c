package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ConflictError says that a cache has other contents than this run under the same paths. Both sides stay as they are:
// what users got must not change, and it is unknown which side is right.
type ConflictError struct {
	System    matrix.System // empty for a push without a system
	Cache     string
	Conflicts []run.Conflict
}

func (e *ConflictError) Error() string {
	first := e.Conflicts[0]
	text := fmt.Sprintf("%s has other contents: %s is %s there, and %s here", e.Cache, first.Path, first.Theirs, first.Ours) + run.InFiles(first.Files)
	if first.Theirs == first.Ours {
		text = fmt.Sprintf("%s has other references: %s refers to %v there, and to %v here",
			e.Cache, first.Path, first.References.Theirs, first.References.Ours)
	}
	if more := len(e.Conflicts) - 1; more > 0 {
		text += fmt.Sprintf("; and %s more", run.Count(more, "path"))
	}
	return text
}

// Outcome of a build that is good, while a cache has a different one.
func (e *ConflictError) Outcome() run.Outcome { return run.OutcomeDifferent }

// ConflictCheck compares objects with those that a cache has under the same paths.
type ConflictCheck struct {
	*run.Recorder
	Evidence run.Evidence
	System   matrix.System
	KeepOurs func(nix.StorePath) run.KeepFunc // keeps our side of a comparison
}

// maxExamined is how many conflicts are compared file by file. Many paths usually differ for the same reason.
const maxExamined = 3

// Run returns a [*ConflictError] if the cache has one of the objects with other contents or references.
func (c ConflictCheck) Run(ctx context.Context, cache run.NARHasher, infos []nix.PathInfo) error {
	cached, err := cache.Infos(ctx, nix.PathsOf(infos))
	if err != nil {
		return err
	}
	conflict := &ConflictError{System: c.System, Cache: cache.Name()}
	for _, info := range infos {
		other, ok := cached[info.Path]
		if !ok || info.NARHash.IsZero() {
			continue
		}
		found, differs := compareInfos(other, info)
		if !differs {
			continue
		}
		if found.Theirs != found.Ours && len(conflict.Conflicts) < maxExamined {
			keepTheirs := run.KeepFrom(c.Evidence, cache, info.Path, "theirs")
			found.Kept, found.Files, found.Page = c.CompareKept(ctx, c.Evidence, info.Path, keepTheirs, c.KeepOurs(info.Path))
		}
		conflict.Conflicts = append(conflict.Conflicts, found)
	}
	if len(conflict.Conflicts) == 0 {
		return nil
	}
	return withAdvice(conflict)
}

func withAdvice(conflict *ConflictError) error {
	advice := "find out which of the two is right, and why a build is not the same each time"
	if !slices.ContainsFunc(conflict.Conflicts, func(c run.Conflict) bool { return c.Theirs != c.Ours }) {
		advice = "the contents are the same, so that the narinfo of one side is wrong: compare it with nix-store --query --references PATH"
	}
	var err error = conflict
	for _, c := range conflict.Conflicts {
		err = run.HintKept(err, c.Path.Name(), c.Kept, c.Page)
	}
	return hint.Wrap(err, "nothing was overwritten: %s", advice)
}

// compareInfos compares contents and references. Equal contents can have other references, and with wrong references
// Nix would fetch an object without what it needs.
func compareInfos(cached, local nix.PathInfo) (c run.Conflict, differs bool) {
	c = run.Conflict{Path: local.Path, Theirs: cached.NARHash.SRI(), Ours: local.NARHash.SRI()}
	a, b := nix.SortedPaths(cached.References), nix.SortedPaths(local.References)
	if !slices.Equal(a, b) {
		c.References = &run.ReferencesConflict{Theirs: append([]nix.StorePath{}, a...), Ours: append([]nix.StorePath{}, b...)}
	}
	return c, c.Theirs != c.Ours || c.References != nil
}

// checkConflicts compares objects with the public side of the cache.
func (p *Publisher) checkConflicts(ctx context.Context, system matrix.System, infos []nix.PathInfo) error {
	if len(infos) == 0 {
		return nil
	}
	consumer, err := p.To.Consumer(ctx)
	if err != nil {
		return err
	}
	check := ConflictCheck{p.Recorder, p.Evidence, system, func(path nix.StorePath) run.KeepFunc {
		return run.KeepFrom(p.Evidence, p.From, path, "ours")
	}}
	return check.Run(ctx, consumer, infos)
}

// selector selects the objects of a push that have to be equal to those of the cache. There are the paths that the cache
// has: the public side would remember for consumers that it lacks any other.
type selector func(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo

// allPresent selects all objects that the cache has, because the run may have built any of them.
func allPresent(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo {
	present := nix.PathSet(there)
	return slices.DeleteFunc(slices.Clone(infos), func(i nix.PathInfo) bool { return !present[i.Path] })
}

// maxRoots limits the requests of a comparison. A push of more roots mirrors a cache, and has no outputs to compare.
const maxRoots = 100

// presentRoots selects, of the objects that the cache has, the roots and the references of those that go up. The run that
// has built the objects below them has compared those.
func presentRoots(infos []nix.PathInfo, there []nix.StorePath) []nix.PathInfo {
	present, selected := nix.PathSet(there), map[nix.StorePath]bool{}
	for _, i := range infos {
		for _, reference := range i.References {
			if reference != i.Path && !present[i.Path] {
				selected[reference] = true
			}
		}
	}
	for root := range rootsOf(infos) {
		selected[root] = true
	}
	return slices.DeleteFunc(allPresent(infos, there), func(i nix.PathInfo) bool { return !selected[i.Path] })
}

// rootsOf returns the objects that no other object refers to; nil if they are more than maxRoots.
func rootsOf(infos []nix.PathInfo) map[nix.StorePath]string {
	roots := make(map[nix.StorePath]string)
	for _, i := range infos {
		roots[i.Path] = "what was pushed"
	}
	for _, i := range infos {
		for _, reference := range i.References {
			if reference != i.Path {
				delete(roots, reference)
			}
		}
	}
	if len(roots) > maxRoots {
		return nil
	}
	return roots
}

// IsConflict reports whether a cache has other contents.
func IsConflict(err error) bool {
	var conflict *ConflictError
	return errors.As(err, &conflict)
}
