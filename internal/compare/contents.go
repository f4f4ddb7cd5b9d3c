package compare

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/unpack"
)

const (
	// maxKept is the size of the largest file that is kept in memory. Only such a file is entered or shown as text.
	maxKept = 32 << 20
	// A region begins at a multiple of 16, up to 31 bytes before the first difference. It has at most this many bytes.
	maxRegion = 128
)

// contents compares the contents of files, one pair after the other. It reuses its buffers.
type contents struct {
	options     Options
	left, right []byte
}

// compare reads the current files of both walks. It returns nil where they are the same.
// Without detailed, the change has no regions and no diff.
func (c *contents) compare(a, b *side, detailed bool) (*Change, error) {
	c.left, c.right = c.left[:0], c.right[:0]
	d := newByteDiff()
	keep := a.current.Size <= maxKept && b.current.Size <= maxKept
	for {
		p, err := a.peek()
		if err != nil {
			return nil, err
		}
		q, err := b.peek()
		if err != nil {
			return nil, err
		}
		if len(p) == 0 && len(q) == 0 {
			break
		}
		if len(p) > 0 && len(q) > 0 {
			n := min(len(p), len(q))
			p, q = p[:n], q[:n]
		}
		d.add(p, q)
		if keep {
			c.left, c.right = append(c.left, p...), append(c.right, q...)
		}
		a.reader.Discard(len(p))
		b.reader.Discard(len(q))
	}
	change := d.change()
	if change == nil {
		return nil, nil
	}
	if keep {
		e := &entering{options: c.options, left: unpack.NewBudget(), right: unpack.NewBudget()}
		e.explain(change, "", pairOf{name: a.current.Path, a: c.left, b: c.right})
	} else if a.current.Size > maxKept || b.current.Size > maxKept {
		change.Note = "too large to look into: more than " + size(maxKept)
	}
	if !detailed {
		change.Region, change.Diff, change.Members = nil, "", nil
	}
	return change, nil
}

func (s *side) peek() ([]byte, error) {
	p, err := s.reader.Peek()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, s.wrap(err)
	}
	return p, nil
}

// byteDiff collects the bytes that differ between two streams.
type byteDiff struct {
	offset    int64 // of the next bytes
	first     int64 // offset of the first difference; -1 if there is none
	differing int64
	region    Region
}

func newByteDiff() *byteDiff { return &byteDiff{first: -1} }

// diffBytes compares two byte slices. It returns nil where they are the same.
func diffBytes(a, b []byte) *Change {
	d, n := newByteDiff(), min(len(a), len(b))
	d.add(a[:n], b[:n])
	if len(a) != len(b) {
		d.add(a[n:], b[n:])
	}
	return d.change()
}

func (d *byteDiff) change() *Change {
	if d.first < 0 {
		return nil
	}
	return &Change{Offset: d.first, Differing: d.differing, Region: &d.region}
}

// add compares the next bytes: two slices of the same length, or the rest of the longer stream and nothing.
func (d *byteDiff) add(p, q []byte) {
	from := len(p) + len(q) // where the region continues
	if d.first >= 0 {
		from = 0
	}
	if len(p) == len(q) {
		d.scan(p, q)
	} else if d.first < 0 {
		d.first = d.offset
	}
	if d.first >= d.offset && from > 0 { // it begins here
		from = max(int((d.first-hexRow)&^(hexRow-1)-d.offset), 0)
		d.region.Start = d.offset + int64(from)
	}
	d.region.A = appendUpTo(d.region.A, p, from)
	d.region.B = appendUpTo(d.region.B, q, from)
	d.offset += int64(max(len(p), len(q)))
}

func appendUpTo(region Hex, p []byte, from int) Hex {
	from = min(from, len(p))
	return append(region, p[from:min(len(p), from+maxRegion-len(region))]...)
}

func (d *byteDiff) scan(p, q []byte) {
	const step = 4 << 10
	for i := 0; i < len(p); {
		end := min(i+step, len(p))
		if bytes.Equal(p[i:end], q[i:end]) {
			i = end
			continue
		}
		for ; i < end; i++ {
			if i+8 <= end && binary.LittleEndian.Uint64(p[i:]) == binary.LittleEndian.Uint64(q[i:]) {
				i += 7
			} else if p[i] != q[i] {
				d.differing++
				if d.first < 0 {
					d.first = d.offset + int64(i)
				}
			}
		}
	}
}

const (
	maxText      = 512 << 10 // of a file that is shown as a diff
	maxDiffLines = 200
	maxDiffLine  = 500 // bytes
)

// textDiff returns a unified diff of two texts, shortened for a reader, without the lines that name files.
func textDiff(a, b []byte) (unified string, wasCut bool) {
	unified = string(diff.Diff("a", a, "b", b))
	if i := strings.Index(unified, "\n@@ "); i >= 0 {
		unified = unified[i+1:]
	}
	lines := strings.Split(strings.TrimSuffix(unified, "\n"), "\n")
	if len(lines) > maxDiffLines {
		lines, wasCut = lines[:maxDiffLines], true
	}
	for i, line := range lines {
		if len(line) > maxDiffLine {
			lines[i], wasCut = printable.Cut(line, maxDiffLine), true
		}
	}
	return strings.Join(lines, "\n"), wasCut
}

// isText reports whether contents can be shown as text: UTF-8 without NUL, and not large.
func isText(p []byte) bool {
	return len(p) <= maxText && utf8.Valid(p) && bytes.IndexByte(p, 0) < 0
}
