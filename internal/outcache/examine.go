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

// query examines the paths and all their recorded references, and returns all of them.
func (s *Store) examineClosure(ctx context.Context, roots []nix.StorePath) ([]nix.StorePath, error) {
	var all []nix.StorePath
	err := nix.Walk(roots, func(level []nix.StorePath) (references []nix.StorePath, err error) {
		all = append(all, level...)
		err = s.examineAndWarn(ctx, level)
		for _, path := range level {
			references = append(references, s.state(path).object.References...)
		}
		return references, err
	})
	return all, err
}

// examineAndWarn examines the paths, and warns of objects that differ from the record.
func (s *Store) examineAndWarn(ctx context.Context, paths []nix.StorePath) error {
	doubts, err := s.examineAll(ctx, paths)
	if len(doubts) > 0 {
		s.warn(fmt.Sprintf("%s is not believed about %s, which count as not there: %s", s.Name(), run.Count(len(doubts), "path"), some(doubts)))
	}
	return err
}

// examineAll examines the paths that were not good before: this run, or another one, may have added them since. Doubts
// are the reasons why objects are not trusted, each once.
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

// examine compares an object of the cache with the record. It reads the NAR if its file has changed since it was last read,
// or if again is true.
func (s *Store) examine(ctx context.Context, path nix.StorePath, again bool) state {
	o, known := s.record.Object(path)
	st := state{object: o}
	e, err := s.dir.Entry(path)
	if err == nil {
		err = compare(o, known, e.Info)
	}
	if err == nil && (again || !o.Holds(fileOf(e))) {
		if e, err = s.dir.Check(ctx, path); err == nil {
			err = compare(o, known, e.Info) // it may have changed
			st.object.AddFile(fileOf(e))
		}
	}
	st.err = err
	return st
}

func fileOf(e binarycache.Entry) record.File {
	return record.File{Info: e.InfoHash, Identity: e.Identity}
}

// compare returns an error if a narinfo differs from the record.
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

// remember records the files in which the objects were found.
func (s *Store) remember(paths []nix.StorePath) error {
	changed := slices.DeleteFunc(slices.Clone(paths), func(path nix.StorePath) bool {
		files := s.state(path).object.Files
		o, _ := s.record.Object(path)
		return len(files) == 0 || o.Holds(files[0])
	})
	if len(changed) == 0 || !s.record.Writable() {
		return nil
	}
	return s.record.Change(changed, func(o *record.Object) {
		if st := s.state(o.Path); o.NARHash == st.object.NARHash {
			o.AddFile(st.object.Files[0])
		}
	})
}

// missingReason returns why an object or one of its references is not there; nil if its closure is complete. Complete has the objects
// whose closure is complete, or is being examined by a caller.
func (s *Store) missingReason(path nix.StorePath, complete map[nix.StorePath]bool) error {
	if complete[path] {
		return nil
	}
	complete[path] = true
	st := s.state(path)
	if st.err != nil {
		delete(complete, path)
		return st.err
	}
	for _, reference := range st.object.References {
		if err := s.missingReason(reference, complete); err != nil {
			delete(complete, path)
			return fmt.Errorf("its reference %s: %w", reference, err)
		}
	}
	return nil
}
