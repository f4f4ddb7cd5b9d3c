// Package outcache is the binary cache in a directory of results, without the objects that differ from the record.
//
// Such a directory may come from anywhere, so its files prove nothing. An object counts as present if the record of this
// user has its path, its narinfo agrees with the record, its NAR was read and has that hash, and all its references are
// present in the same way. All other objects count as absent.
package outcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// checksAtOnce is the number of NARs that are read at the same time.
const checksAtOnce = 4

var (
	// errNoRecord is the state of an object whose contents no run of this user has recorded.
	errNoRecord = errors.New("no record of it is there")
	// errNotExamined is the state of an object before the first query.
	errNotExamined = errors.New("it was not examined")
)

// Store is the cache in a directory of results. It implements pipelines.Store. It is safe for concurrent use.
type Store struct {
	dir    *binarycache.Dir
	record *record.Record
	// warn is called for objects that differ from the record.
	warn func(text string)

	mu     sync.Mutex
	states map[nix.StorePath]state // of the examined objects; each query examines those with an error again
}

// state is the result of the examination of an object.
type state struct {
	object record.Object
	err    error // why it is not trusted; nil if it is
}

// New returns the cache in a directory. Warn is called for objects that differ from the record; it may be nil.
func New(dir *binarycache.Dir, r *record.Record, warn func(text string)) *Store {
	if warn == nil {
		warn = func(string) {}
	}
	return &Store{dir: dir, record: r, warn: warn, states: map[nix.StorePath]state{}}
}

// Name returns the directory.
func (s *Store) Name() string { return s.dir.Name() }

// Record returns the record that the cache is compared with; a nil store has none.
func (s *Store) Record() *record.Record {
	if s == nil {
		return nil
	}
	return s.record
}

// Missing returns the paths whose closure is not complete, in the given order.
func (s *Store) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	if _, err := s.examineClosure(ctx, paths); err != nil {
		return nil, err
	}
	var missing []nix.StorePath
	complete := map[nix.StorePath]bool{}
	for _, path := range paths {
		if s.missingReason(path, complete) != nil {
			missing = append(missing, path)
		}
	}
	return missing, nil
}

// Closure returns the recorded metadata of the paths and of all their references, sorted by path. An absent path is an error.
func (s *Store) Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	seen, err := s.examineClosure(ctx, roots)
	if err != nil {
		return nil, err
	}
	var infos []nix.PathInfo
	for _, path := range nix.SortedPaths(seen) {
		st := s.state(path)
		if st.err != nil {
			return nil, fmt.Errorf("read closure in %s: %s: %w", s.Name(), path, st.err)
		}
		info, _ := st.object.Info()
		infos = append(infos, info)
	}
	return infos, nil
}

// Infos returns the recorded metadata of the paths that are present.
func (s *Store) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	if err := s.examineAndWarn(ctx, paths); err != nil {
		return nil, err
	}
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		if st := s.state(path); st.err == nil {
			infos[path], _ = st.object.Info()
		}
	}
	return infos, nil
}

// LeaveOut makes objects whose contents are recorded count as there, although the directory has no file of them.
func (s *Store) LeaveOut(paths []nix.StorePath) {
	var known []nix.StorePath
	for _, path := range paths {
		if o, ok := s.record.Object(path); ok && o.NARHash != "" && o.Unreadable == nil {
			s.set(path, state{object: o})
			known = append(known, path)
		}
	}
	s.dir.LeaveOut(known)
}

// Dump writes the NAR of an object. The file may have changed since the object was examined: readers must compare the hash.
func (s *Store) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	return s.dir.Dump(ctx, w, path)
}

// Verify reads the NARs of the paths, compares them with the record, and records their files.
func (s *Store) Verify(ctx context.Context, paths []nix.StorePath) error {
	errs := make([]error, len(paths))
	err := s.each(ctx, paths, func(i int, path nix.StorePath) {
		st := s.examine(ctx, path, true)
		s.set(path, st)
		if st.err != nil {
			errs[i] = hint.Wrap(fmt.Errorf("verify %s in %s: %w", path, s.Name(), st.err), "run the command again: it is then packed anew")
		}
	})
	if err != nil {
		return err
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.remember(paths); err != nil {
		return err
	}
	missing, err := s.Missing(ctx, paths)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("verify %s in %s: %w", missing[0], s.Name(), s.missingReason(missing[0], map[nix.StorePath]bool{}))
	}
	return err
}

// Import adds the objects of a stream of nix-store --export. Their contents must be recorded before. An object that differs
// from the record is an error.
func (s *Store) Import(ctx context.Context, stream io.Reader) ([]nix.Added, error) {
	added, err := s.dir.Import(ctx, stream)
	for _, a := range added {
		if compareErr := s.compareImported(a.Path); compareErr != nil {
			err = errors.Join(err, fmt.Errorf("import into %s: %s: %w", s.Name(), a.Path, compareErr))
		}
	}
	return added, err
}

func (s *Store) compareImported(path nix.StorePath) error {
	e, err := s.dir.Entry(path)
	if err != nil {
		return err
	}
	o, known := s.record.Object(path)
	return compare(o, known, e.Info)
}

// SetAside moves the objects that differ from the record to another directory, so that the right ones can be imported. It
// deletes nothing.
func (s *Store) SetAside(ctx context.Context, paths []nix.StorePath) error {
	if _, err := s.examineAll(ctx, paths); err != nil {
		return err
	}
	return s.setAside(ctx, paths)
}

func (s *Store) setAside(ctx context.Context, paths []nix.StorePath) error {
	var moved []string
	for _, path := range paths {
		st := s.state(path)
		if st.err == nil || errors.Is(st.err, binarycache.ErrNotFound) {
			continue
		}
		where, err := s.dir.SetAside(path, func() bool { // another run may have replaced it
			st = s.examine(ctx, path, false)
			return st.err != nil && ctx.Err() == nil
		})
		if err != nil {
			return err
		}
		if where == "" {
			continue
		}
		moved = append(moved, fmt.Sprintf("%s: %v; moved to %s", path, st.err, where))
	}
	if len(moved) > 0 {
		s.warn(fmt.Sprintf("%s had other contents under %s, which are replaced: %s", s.Name(), run.Count(len(moved), "path"), some(moved)))
	}
	return nil
}

func (s *Store) state(path nix.StorePath) state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := s.states[path]; ok {
		return st
	}
	return state{err: errNotExamined}
}

func (s *Store) set(path nix.StorePath, st state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[path] = st
}

// each calls f for the paths, several at the same time.
func (s *Store) each(ctx context.Context, paths []nix.StorePath, f func(int, nix.StorePath)) error {
	var group errgroup.Group
	group.SetLimit(checksAtOnce)
	for i, path := range paths {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			f(i, path)
			return nil
		})
	}
	_ = group.Wait() // f has no error
	if ctx.Err() != nil {
		return fmt.Errorf("look into %s: %w", s.Name(), context.Cause(ctx))
	}
	return nil
}

// some joins the first texts, and adds the number of the others.
func some(texts []string) string {
	const most = 3
	if len(texts) <= most {
		return strings.Join(texts, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(texts[:most], "; "), len(texts)-most)
}
