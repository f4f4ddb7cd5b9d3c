package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
)

// Options say how far a report goes. The zero value does for most.
type Options struct {
	// Hosts are names of machines that may have built a side: one of them in the bytes is evidence.
	Hosts []string
	// MaxDifferences is how many differences of an output are listed; 0 stands for 10 000.
	// Of the first 200 the report shows bytes and text.
	MaxDifferences int
}

const (
	defaultMaxDifferences = 10_000
	maxDetailed           = 200
)

// Trees compares two trees. The report has one output, which is different where any path is.
// An error means that a side could not be read to its end; it is for a person to read.
func Trees(ctx context.Context, a, b Tree, o Options) (*Report, error) {
	out := Output{Name: path.Base(a.Name)}
	if err := out.compare(ctx, a, b, o); err != nil {
		return nil, err
	}
	return &Report{A: a.Name, B: b.Name, Same: out.Verdict == Same, Outputs: []Output{out}}, nil
}

// compare walks through both trees and notes what differs.
func (out *Output) compare(ctx context.Context, a, b Tree, o Options) error {
	if o.MaxDifferences == 0 {
		o.MaxDifferences = defaultMaxDifferences
	}
	left, err := begin(ctx, a)
	if err != nil {
		return err
	}
	right, err := begin(ctx, b)
	if err != nil {
		return errors.Join(err, left.walker.close())
	}
	m := &merge{options: o, out: out, left: left, right: right, changes: newChanges(o)}
	err = m.run()
	err = errors.Join(err, left.walker.close(), right.walker.close())
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
	walker  *narWalker
	current *Entry // nil behind the last
}

func begin(ctx context.Context, t Tree) (*side, error) {
	r, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", shown(t.Name), err)
	}
	return &side{name: t.Name, walker: newNARWalker(ctx, r)}, nil
}

func (s *side) next() error {
	e, err := s.walker.next()
	if err == io.EOF {
		s.current = nil
		return nil
	}
	if err != nil {
		return s.wrap(err)
	}
	s.current = e
	return nil
}

func (s *side) wrap(err error) error { return fmt.Errorf("read %s: %w", shown(s.name), err) }

// merge is a walk through two trees at once.
type merge struct {
	options     Options
	out         *Output
	left, right *side
	changes     *changes

	// Directories that are on one side alone, whose contents are counted and not listed.
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
	return nil
}

// step takes the entry that comes first, from both sides where both have it.
func (m *merge) step() error {
	m.out.Files++
	a, b := m.left.current, m.right.current
	switch {
	case b == nil || a != nil && order(a.path, b.path) < 0:
		m.removed = m.alone(m.removed, Difference{Path: a.path, Kinds: []Kind{Removed}, A: a}, a)
		return m.left.next()
	case a == nil || order(a.path, b.path) > 0:
		m.added = m.alone(m.added, Difference{Path: b.path, Kinds: []Kind{Added}, B: b}, b)
		return m.right.next()
	}
	if err := m.both(a, b); err != nil {
		return err
	}
	return errors.Join(m.left.next(), m.right.next())
}

// alone notes an entry of one side, and returns the directory whose contents are counted with it from here on.
func (m *merge) alone(dir *Entry, d Difference, e *Entry) *Entry {
	if dir != nil && below(e.path, dir.path) {
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
	d := Difference{Path: a.path, A: a, B: b}
	if a.Type != b.Type {
		d.Kinds = []Kind{Retyped}
		m.note(d)
		// What is below the directory of the two belongs to it.
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
		d.Causes = causesOf(textEvidence(m.options, a.Target, b.Target))
	case a.Type == Regular:
		if a.Executable != b.Executable {
			d.Kinds = append(d.Kinds, Mode)
			d.Causes = append(d.Causes, Permissions)
		}
		change, err := m.changes.compare(m.left, m.right, len(m.out.Differences) < maxDetailed)
		if err != nil {
			return err
		}
		if change != nil {
			d.Kinds = append(d.Kinds, Contents)
			d.Change = change
			d.Causes = append(causesOf(change.Evidence), d.Causes...)
		}
	}
	if len(d.Kinds) > 0 {
		m.note(d)
	}
	return nil
}

// note lists a difference, or counts it where the list is full.
func (m *merge) note(d Difference) {
	if len(m.out.Differences) >= m.options.MaxDifferences {
		m.out.Unlisted++
		return
	}
	m.out.Differences = append(m.out.Differences, d)
}
