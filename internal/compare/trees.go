package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// The types of entries.
const (
	Regular   = nar.Regular
	Directory = nar.Directory
	Symlink   = nar.Symlink
)

// Options control a comparison. The zero value is for builds of different derivations.
type Options struct {
	// SameDerivation says that both sides are builds of one derivation. Only then causes are named. For outputs of
	// manifests and caches it is not needed: one store path has one derivation.
	SameDerivation bool
	// Run is the time of the run that made the later build. Without it, no time is recognized as one of a build.
	Run Window
}

const (
	maxDifferences = 10_000 // that an output lists
	maxDetailed    = 200    // of these have bytes and text
)

// Trees compares two trees. The report has one output. An error means that a side could not be read to its end.
func Trees(ctx context.Context, a, b Tree, o Options) (*Report, error) {
	out := Output{Name: path.Base(a.Name)}
	if err := out.compare(ctx, a, b, o); err != nil {
		return nil, err
	}
	return &Report{A: a.Name, B: b.Name, Same: out.Verdict == Same, Outputs: []Output{out}}, nil
}

// compare walks through both trees and records what differs.
func (out *Output) compare(ctx context.Context, a, b Tree, o Options) error {
	left, err := begin(ctx, a)
	if err != nil {
		return err
	}
	right, err := begin(ctx, b)
	if err != nil {
		return errors.Join(err, left.reader.Close())
	}
	m := &merge{options: o, out: out, left: left, right: right, contents: &contents{options: o}}
	err = m.run()
	err = errors.Join(err, left.reader.Close(), right.reader.Close())
	if err != nil {
		return err
	}
	out.Verdict = Same
	if len(out.Differences) > 0 {
		out.Verdict = Different
	}
	return nil
}

// side is one of the two walks.
type side struct {
	name    string
	reader  *nar.Reader
	current *Entry // nil after the last one
	size    int64  // of all files so far
}

func begin(ctx context.Context, t Tree) (*side, error) {
	r, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", printable.Escaped(t.Name), err)
	}
	return &side{name: t.Name, reader: nar.NewReaderAhead(ctx, r)}, nil
}

func (s *side) next() error {
	e, err := s.reader.Next()
	if err == io.EOF {
		s.current = nil
		return nil
	}
	if err != nil {
		return s.wrap(err)
	}
	s.current = &Entry{Entry: *e}
	s.size += e.Size
	return nil
}

func (s *side) wrap(err error) error {
	return fmt.Errorf("read %s: %w", printable.Escaped(s.name), err)
}

// merge is a walk through two trees at once.
type merge struct {
	options     Options
	out         *Output
	left, right *side
	contents    *contents

	// The directory that only one side has, and that the walk is in. Its contents are counted, not listed.
	removed, added *Entry
}

func (m *merge) run() error {
	if err := errors.Join(m.left.next(), m.right.next()); err != nil {
		return err
	}
	for m.left.current != nil || m.right.current != nil {
		if err := m.step(); err != nil {
			return err
		}
	}
	m.out.SizeA, m.out.SizeB = m.left.size, m.right.size
	return nil
}

// step takes the next entry: of one side, or of both.
func (m *merge) step() error {
	m.out.Files++
	a, b := m.left.current, m.right.current
	switch {
	case b == nil || a != nil && nar.Order(a.Path, b.Path) < 0:
		m.removed = m.oneSide(m.removed, Difference{Path: a.Path, Kinds: []Kind{Removed}, A: a}, a)
		return m.left.next()
	case a == nil || nar.Order(a.Path, b.Path) > 0:
		m.added = m.oneSide(m.added, Difference{Path: b.Path, Kinds: []Kind{Added}, B: b}, b)
		return m.right.next()
	}
	if err := m.both(a, b); err != nil {
		return err
	}
	return errors.Join(m.left.next(), m.right.next())
}

// oneSide records an entry of one side. It returns the directory whose contents are counted from here on.
func (m *merge) oneSide(dir *Entry, d Difference, e *Entry) *Entry {
	if dir != nil && below(e.Path, dir.Path) {
		dir.Below++
		dir.Size += e.Size
		return dir
	}
	m.note(d)
	if e.Type == Directory {
		return e
	}
	return dir
}

// both compares an entry that both sides have.
func (m *merge) both(a, b *Entry) error {
	d := Difference{Path: a.Path, A: a, B: b}
	if a.Type != b.Type {
		d.Kinds = []Kind{Retyped}
		m.note(d)
		if a.Type == Directory {
			m.removed = a
		}
		if b.Type == Directory {
			m.added = b
		}
		return nil
	}
	switch {
	case a.Type == Symlink && a.Target != b.Target:
		d.Kinds = append(d.Kinds, Relinked)
	case a.Type == Regular:
		if a.Executable != b.Executable {
			d.Kinds = append(d.Kinds, Mode)
		}
		change, err := m.contents.compare(m.left, m.right, len(m.out.Differences) < maxDetailed)
		if err != nil {
			return err
		}
		if change != nil {
			d.Kinds = append(d.Kinds, Contents)
			d.Change = change
			d.Causes = causesOf(change.Evidence)
		}
	}
	if len(d.Kinds) > 0 {
		m.note(d)
	}
	return nil
}

// note counts a difference, and lists it unless the list is full.
func (m *merge) note(d Difference) {
	switch d.Kinds[0] {
	case Added:
		m.out.Added++
	case Removed:
		m.out.Removed++
	default:
		m.out.Changed++
	}
	if len(m.out.Differences) >= maxDifferences {
		m.out.Unlisted++
		return
	}
	m.out.Differences = append(m.out.Differences, d)
}

func below(path, dir string) bool {
	return dir == "" && path != "" || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}
