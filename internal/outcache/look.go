package outcache

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// look looks at the paths and at all that the record says they refer to, and returns all of them.
func (s *Store) look(ctx context.Context, roots []nix.StorePath) ([]nix.StorePath, error) {
	seen := map[nix.StorePath]bool{}
	var all []nix.StorePath
	for level := unseen(seen, roots); len(level) > 0; {
		if err := s.lookAt(ctx, level); err != nil {
			return nil, err
		}
		all = append(all, level...)
		var next []nix.StorePath
		for _, path := range level {
			next = append(next, unseen(seen, s.state(path).object.References)...)
		}
		level = next
	}
	return all, nil
}

// unseen returns those of the paths that come for the first time, and marks them.
func unseen(seen map[nix.StorePath]bool, paths []nix.StorePath) (fresh []nix.StorePath) {
	for _, path := range paths {
		if !seen[path] {
			seen[path] = true
			fresh = append(fresh, path)
		}
	}
	return fresh
}

// lookAt looks at those of the paths that were not looked at yet, and warns of what is there and is not believed.
func (s *Store) lookAt(ctx context.Context, paths []nix.StorePath) error {
	doubts, err := s.examineAll(ctx, paths)
	if len(doubts) > 0 {
		s.warn(fmt.Sprintf("%s is not believed about %s, which count as not there: %s", s.Name(), run.Count(len(doubts), "path"), some(doubts)))
	}
	return err
}

// examineAll examines those of the paths that were not found to be good yet: this run, or another one, may have added them
// since. Doubts say why what is there is not believed, for each reason once.
func (s *Store) examineAll(ctx context.Context, paths []nix.StorePath) (doubts []string, err error) {
	paths = slices.DeleteFunc(nix.SortedPaths(paths), func(path nix.StorePath) bool { return s.state(path).err == nil })
	states := make([]state, len(paths))
	if err := s.each(ctx, paths, func(i int, path nix.StorePath) { states[i] = s.examine(ctx, path, false) }); err != nil {
		return nil, err
	}
	var good []nix.StorePath
	for i, st := range states {
		before := s.state(paths[i]).err
		s.set(paths[i], st)
		switch {
		case st.err == nil:
			good = append(good, paths[i])
		case !errors.Is(st.err, binarycache.ErrNotFound) && (before == nil || before.Error() != st.err.Error()):
			doubts = append(doubts, fmt.Sprintf("%s: %v", paths[i], st.err))
		}
	}
	return doubts, s.remember(good)
}

// examine compares what the cache has under a path with the record. The NAR is read if that was not done since its file
// has changed, or with again.
func (s *Store) examine(ctx context.Context, path nix.StorePath, again bool) state {
	o, known := s.record.Object(path)
	st := state{object: o}
	e, err := s.dir.Entry(path)
	if err == nil {
		err = compare(o, known, e.Info)
	}
	if err == nil && (again || !o.Holds(fileOf(e))) {
		if e, err = s.dir.Check(ctx, path); err == nil {
			err = compare(o, known, e.Info) // it may have changed meanwhile
			st.object.AddFile(fileOf(e))
		}
	}
	st.err = err
	return st
}

func fileOf(e binarycache.Entry) record.File {
	return record.File{Info: e.InfoHash, Identity: e.Identity}
}

// compare says whether a narinfo is what the record says.
func compare(o record.Object, known bool, info *nix.NARInfo) error {
	if o.Unreadable != nil {
		return o.Unreadable
	}
	if !known || o.NARHash == "" {
		return errNoRecord
	}
	if !o.Matches(nix.PathInfo{NARHash: info.NARHash, NARSize: info.NARSize, References: info.References}) {
		return fmt.Errorf("its narinfo has the hash %s, %d bytes and %d references, and the record has %s, %d and %d",
			info.NARHash.SRI(), info.NARSize, len(info.References), o.NARHash, o.NARSize, len(o.References))
	}
	return nil
}

// remember keeps in the record which files were found to hold the objects.
func (s *Store) remember(paths []nix.StorePath) error {
	var changed []nix.StorePath
	for _, path := range paths {
		st := s.state(path)
		if o, _ := s.record.Object(path); len(st.object.Files) > 0 && !o.Holds(st.object.Files[0]) {
			changed = append(changed, path)
		}
	}
	if len(changed) == 0 || !s.record.Writable() {
		return nil
	}
	return s.record.Change(changed, func(o *record.Object) {
		if st := s.state(o.Path); o.NARHash == st.object.NARHash {
			o.AddFile(st.object.Files[0])
		}
	})
}

// whyNot says why an object is not there with all that it refers to; nil where it is. Whole has those that are known to
// be, or are looked at further up.
func (s *Store) whyNot(path nix.StorePath, whole map[nix.StorePath]bool) error {
	if whole[path] {
		return nil
	}
	whole[path] = true
	st := s.state(path)
	if st.err != nil {
		delete(whole, path)
		return st.err
	}
	for _, reference := range st.object.References {
		if err := s.whyNot(reference, whole); err != nil {
			delete(whole, path)
			return fmt.Errorf("its reference %s: %w", reference, err)
		}
	}
	return nil
}
