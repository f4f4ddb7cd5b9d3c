package compare

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/unpack"
)

const (
	maxNesting = 8
	// maxListed is how many changed members of a file a report has.
	maxListed = 100
)

// pairOf is the contents of a file or member on both sides.
type pairOf struct {
	name string
	a, b []byte
}

// entering compares one file with everything in it.
type entering struct {
	options     Options
	left, right *unpack.Budget
	depth       int
}

// explain adds to a change which members differ. Without members, it adds a text diff and the evidence for causes.
func (e *entering) explain(change *Change, label string, p pairOf) {
	f := unpack.FormatOf(p.name, p.a)
	if f != nil && f == unpack.FormatOf(p.name, p.b) && e.depth < maxNesting && e.enter(change, f, p) {
		change.Region = nil
		return
	}
	isText := isText(p.a) && isText(p.b)
	if isText {
		change.Diff, change.DiffCut = textDiff(p.a, p.b)
		change.Region = nil
	}
	if e.options.SameDerivation {
		change.Evidence = append(change.Evidence, evidenceOf(e.options, label, p, isText)...)
	}
}

// enter compares the members of two files of one format. It returns false where they cannot be read, or are the same.
func (e *entering) enter(change *Change, f *unpack.Format, p pairOf) bool {
	a, errA := f.Members(p.a, e.left)
	b, errB := f.Members(p.b, e.right)
	if err := errors.Join(errA, errB); err != nil {
		if errors.Is(err, unpack.ErrTooLarge) {
			change.Note = fmt.Sprintf("%s, too large to look into: more than %s or %d members", f.Name, size(unpack.MaxBytes), unpack.MaxMembers)
		}
		return false
	}
	e.depth++
	defer func() { e.depth-- }()
	e.match(change, f, a, b)
	if len(change.Members) == 0 {
		change.Note = f.Name + ": all members are the same, their packing differs"
		return false
	}
	// Times and owners of many members must not hide the contents that differ.
	slices.SortStableFunc(change.Members, func(x, y Difference) int { return cmp.Compare(len(x.Fields), 0) - cmp.Compare(len(y.Fields), 0) })
	if n := len(change.Members) - maxListed; n > 0 {
		change.Members, change.UnlistedMembers = change.Members[:maxListed], change.UnlistedMembers+n
	}
	return true
}

func (e *entering) match(change *Change, f *unpack.Format, a, b []unpack.Member) {
	others := make(map[string]*unpack.Member, len(b))
	for i := range b {
		others[b[i].Name] = &b[i]
	}
	for i := range a {
		if y, ok := others[a[i].Name]; ok {
			e.both(change, &a[i], y)
			delete(others, a[i].Name)
		} else {
			change.Members = append(change.Members, Difference{Path: a[i].Name, Kinds: []Kind{Removed}, A: entryOf(&a[i])})
		}
	}
	for i := range b {
		if others[b[i].Name] != nil {
			change.Members = append(change.Members, Difference{Path: b[i].Name, Kinds: []Kind{Added}, B: entryOf(&b[i])})
		}
	}
	// Only if nothing else differs, the order is a separate difference.
	for i := 0; i < len(a) && len(change.Members) == 0; i++ {
		if x, y := a[i].Name, b[i].Name; x != y {
			e.addHeader(change, Difference{Path: f.Name}, []unpack.Field{{Name: "order of members", Value: x}}, []unpack.Field{{Name: "order of members", Value: y}})
		}
	}
}

func entryOf(m *unpack.Member) *Entry {
	e := &Entry{}
	e.Type, e.Size = Regular, int64(len(m.Data))
	return e
}

// both compares a member that both sides have. The differences within it are listed too, with a longer path.
func (e *entering) both(change *Change, x, y *unpack.Member) {
	d := Difference{Path: x.Name, A: entryOf(x), B: entryOf(y)}
	e.addHeader(change, d, x.Header, y.Header)
	if bytes.Equal(x.Data, y.Data) {
		return
	}
	d.Kinds, d.Change = []Kind{Contents}, diffBytes(x.Data, y.Data)
	e.explain(d.Change, x.Name, pairOf{x.Name, x.Data, y.Data})
	if len(d.Change.Members) == 0 {
		d.Causes = causesOf(d.Change.Evidence)
		change.Evidence = append(change.Evidence, d.Change.Evidence...)
		change.Members = append(change.Members, d)
		return
	}
	for _, inner := range d.Change.Members {
		inner.Path = x.Name + ", " + inner.Path
		change.Members = append(change.Members, inner)
	}
	change.UnlistedMembers += d.Change.UnlistedMembers
	change.Evidence = append(change.Evidence, d.Change.Evidence...)
}

// causeOf is the cause of a difference in a field of a header; a field that is not here has none.
var causeOf = map[string]Cause{
	"mtime": ArchiveTime, "mtime of the source": ArchiveTime, "mode": Permissions,
	"uid": Owner, "gid": Owner, "owner": Owner, "group": Owner, "order of members": Ordering,
}

func (e *entering) addHeader(change *Change, d Difference, a, b []unpack.Field) {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x.Value == y.Value {
			continue
		}
		d.Fields = append(d.Fields, Field{x.Name, x.Value, y.Value})
		if cause := causeOf[x.Name]; cause != "" && e.options.SameDerivation {
			change.Evidence = append(change.Evidence, Evidence{cause, x.Value, y.Value, d.Path + ", " + x.Name})
			d.Causes = append(d.Causes, cause)
		}
	}
	if len(d.Fields) > 0 {
		d.Kinds, d.Causes = []Kind{Header}, slices.Compact(d.Causes)
		change.Members = append(change.Members, d)
	}
}
