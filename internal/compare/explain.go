package compare

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// minReordered is how many bytes have to differ before as many of each are taken for the same in another order.
const minReordered = 8

// explain adds to a change what holds it, what it looks like, and why.
func (c *changes) explain(change *Change, name string) {
	a, b := newPlaces(&c.left, name), newPlaces(&c.right, name)
	for i := range c.regions {
		c.regions[i].Place = a.at(c.regions[i].Offset)
	}
	change.Place = a.at(c.first)
	if other := b.at(c.first); other != change.Place {
		change.PlaceB = other
	}
	isArchive := c.left.members.format != nil && c.right.members.format != nil // one of texts may be text
	if !isArchive && c.left.whole() && c.right.whole() && isText(c.left.head) && isText(c.right.head) {
		change.Regions = nil
		change.Evidence = c.explainText(change, c.left.head, c.right.head)
		return
	}
	headers := append(headerTimes(a, b), c.memberEvidence()...)
	change.Evidence = append(headers, c.unpackedEvidence(change)...)
	change.Evidence = append(change.Evidence, stringTableEvidence(c.options, a, b)...)
	for i := range c.regions {
		if isDerived(c.regions[i].Place) {
			change.Evidence = append(change.Evidence, Evidence{Cause: Derived, Place: c.regions[i].Place})
		} else if r := c.behindHeader(&c.regions[i], headers); r != nil {
			change.Evidence = append(change.Evidence, regionEvidence(c.options, r)...)
		}
	}
	// Numbers that differ are what an order is made of, such as offsets in a table; nothing else is.
	if !slices.ContainsFunc(change.Evidence, func(e Evidence) bool { return e.Cause != Derived && e.Cause != PID && e.Cause != RandomID }) &&
		c.differing >= minReordered && c.left.size == c.right.size && c.leftBytes == c.rightBytes {
		change.Evidence = []Evidence{{Cause: Ordering, A: "the bytes that differ are the same ones", B: "in another order", Place: change.Place}}
	}
	change.Evidence = limitEvidence(change.Evidence)
}

// maxEvidence is how much of it a report keeps of a file.
const maxEvidence = 12

// limitEvidence keeps the first of each cause in any case.
func limitEvidence(all []Evidence) []Evidence {
	seen := map[Cause]int{}
	return slices.DeleteFunc(all, func(e Evidence) bool {
		seen[e.Cause]++
		return seen[e.Cause] > maxEvidence/4
	})
}

// isDerived tells sections that are computed from all the others.
func isDerived(place string) bool {
	return place == "section .note.gnu.build-id" || place == "section .gnu_debuglink" || place == "section .note.go.buildid"
}

// memberEvidence compares the headers of archive members in which the files differ.
func (c *changes) memberEvidence() []Evidence {
	var found []Evidence
	for _, l := range c.left.members.found {
		m, ok := c.right.members.at(l.offset)
		if ok && c.left.members.format == c.right.members.format && m.start == l.member.start {
			found = append(found, headerEvidence(c.left.members.format, l.member, m)...)
		}
	}
	return found
}

// behindHeader returns what of a region is to be looked at: all of it, or the contents of the archive member in whose
// header it begins, as the headers have been compared field by field. It returns nil where nothing is left of it.
func (c *changes) behindHeader(r *Region, headers []Evidence) *Region {
	m, ok := c.left.members.at(r.Offset)
	begin := m.start + int64(len(m.header)) - r.Start
	if !ok || r.Offset >= r.Start+begin {
		if slices.ContainsFunc(headers, func(e Evidence) bool { return e.Place == r.Place }) {
			return nil
		}
		return r
	}
	n := min(int64(len(r.A)), int64(len(r.B)), m.end-r.Start)
	for i := begin; i < n; i++ {
		if r.A[i] != r.B[i] {
			offset := r.Start + i
			return &Region{
				Start: r.Start + begin, Offset: offset, Place: c.left.members.describe(m, offset),
				A: r.A[begin:n], B: r.B[begin:n],
			}
		}
	}
	return nil
}

// unpackedEvidence looks into two gzip files that are not large, such as manual pages.
func (c *changes) unpackedEvidence(change *Change) []Evidence {
	a, okA := gunzip(&c.left)
	b, okB := gunzip(&c.right)
	if !okA || !okB || bytes.Equal(a, b) || !isText(a) || !isText(b) {
		return nil
	}
	change.Unpacked = true
	return c.explainText(change, a, b)
}

func gunzip(s *sample) ([]byte, bool) {
	if !s.whole() || !strings.HasPrefix(string(s.head), gzipMagic) {
		return nil, false
	}
	r, err := gzip.NewReader(bytes.NewReader(s.head))
	if err != nil {
		return nil, false
	}
	text, err := io.ReadAll(io.LimitReader(r, sampleSize+1))
	return text, err == nil && len(text) <= sampleSize
}

// isText says that a person can read it: UTF-8, with no NUL in it.
func isText(p []byte) bool { return utf8.Valid(p) && bytes.IndexByte(p, 0) < 0 }
