package compare

import (
	"bytes"
	"encoding/binary"
	"io"
)

const (
	// A region has this many bytes before its first difference and this many from there.
	regionBefore = 256
	regionAfter  = 512
	maxRegions   = 16
	// Text tells more than numbers do, and in a program it comes behind them: so many regions more begin in text.
	maxTextRegions = 8
)

// changes compares the contents of one pair of files after the other, and keeps its buffers between them.
type changes struct {
	options     Options
	left, right sample

	offset    int64 // compared so far
	first     int64 // offset of the first difference; -1 where there is none yet
	differing int64
	regions   []Region
	// Of the bytes that differ, how often each value is there: bytes in another order are as many of each.
	leftBytes, rightBytes [256]int64
}

func newChanges(o Options) *changes { return &changes{options: o} }

// compare reads the files that both walks are at. It returns nil where they are the same.
// Without detailed, it says where they differ and shows nothing of it.
func (c *changes) compare(a, b *side, detailed bool) (*Change, error) {
	c.left.reset(a.current)
	c.right.reset(b.current)
	c.offset, c.first, c.differing, c.regions = 0, -1, 0, nil
	if err := c.stream(a, b); err != nil {
		return nil, err
	}
	if c.first < 0 {
		return nil, nil
	}
	change := &Change{Offset: c.first, Differing: c.differing, Regions: c.regions}
	c.explain(change, a.current.path)
	if !detailed {
		change.Regions, change.Diff = nil, ""
	}
	return change, nil
}

// stream reads both files to their ends.
func (c *changes) stream(a, b *side) error {
	for {
		p, err := a.peek()
		if err != nil {
			return err
		}
		q, err := b.peek()
		if err != nil {
			return err
		}
		n := min(len(p), len(q))
		if n == 0 {
			break
		}
		c.pair(p[:n], q[:n])
		a.walker.discard(n)
		b.walker.discard(n)
	}
	if c.first < 0 && a.current.Size != b.current.Size {
		c.differ(nil, nil, 0)
	}
	for _, s := range []*side{a, b} {
		if err := c.rest(s, s == a); err != nil {
			return err
		}
	}
	return nil
}

// rest reads what one file has more than the other.
func (c *changes) rest(s *side, left bool) error {
	for {
		p, err := s.peek()
		if err != nil || len(p) == 0 {
			return err
		}
		if left {
			c.left.see(p)
			c.fill(p, nil)
		} else {
			c.right.see(p)
			c.fill(nil, p)
		}
		s.walker.discard(len(p))
	}
}

// peek returns nothing at the file's end.
func (s *side) peek() ([]byte, error) {
	p, err := s.walker.peek()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, s.wrap(err)
	}
	return p, nil
}

// pair compares as many bytes of both files.
func (c *changes) pair(p, q []byte) {
	c.fill(p, q)
	c.scan(p, q)
	c.left.see(p)
	c.right.see(q)
	c.offset += int64(len(p))
}

// scan counts the differing bytes of two pieces of one length.
func (c *changes) scan(p, q []byte) {
	const step = 4 << 10
	for i := 0; i < len(p); {
		if end := min(i+step, len(p)); bytes.Equal(p[i:end], q[i:end]) {
			i = end
			continue
		}
		for end := min(i+step, len(p)); i < end; i++ {
			if i+8 <= end && binary.LittleEndian.Uint64(p[i:]) == binary.LittleEndian.Uint64(q[i:]) {
				i += 7
			} else if p[i] != q[i] {
				c.count(p, q, i)
			}
		}
	}
}

func (c *changes) count(p, q []byte, i int) {
	if c.first < 0 {
		c.leftBytes, c.rightBytes = [256]int64{}, [256]int64{}
	}
	c.differing++
	c.leftBytes[p[i]]++
	c.rightBytes[q[i]]++
	c.differ(p, q, i)
}

// differ notes that the files differ at an index of the current pieces.
// What is near a difference before it is in that one's region.
func (c *changes) differ(p, q []byte, i int) {
	offset := c.offset + int64(i)
	if c.first < 0 {
		c.first = offset
	}
	n := len(c.regions)
	if n == maxRegions+maxTextRegions || n >= maxRegions && !(inText(p, i) && inText(q, i)) {
		return
	}
	if n > 0 && offset < c.regions[n-1].Offset+regionAfter {
		return
	}
	r := Region{
		Offset: offset,
		A:      c.left.before(make([]byte, 0, regionBefore+regionAfter), p[:i]),
		B:      c.right.before(make([]byte, 0, regionBefore+regionAfter), q[:i]),
	}
	r.Start = offset - int64(len(r.A))
	c.regions = append(c.regions, r)
	c.left.members.want(offset)
	c.right.members.want(offset)
	c.fill(p[i:], q[i:])
}

// minTextAhead is how many printable bytes there have to be from a difference on for it to be in text. Random bytes
// have as many on both sides once in a hundred thousand times.
const minTextAhead = 6

func inText(p []byte, i int) bool {
	if len(p) < i+minTextAhead {
		return false
	}
	for _, c := range p[i : i+minTextAhead] {
		if !isPrintable(c) {
			return false
		}
	}
	return true
}

// fill puts what follows a difference into the last region, as far as there is room.
func (c *changes) fill(p, q []byte) {
	if len(c.regions) == 0 {
		return
	}
	r := &c.regions[len(c.regions)-1]
	want := int(r.Offset-r.Start) + regionAfter
	r.A = append(r.A, p[:min(len(p), want-len(r.A))]...)
	r.B = append(r.B, q[:min(len(q), want-len(r.B))]...)
}
