package compare

import (
	"errors"
	"io"
)

// sampleSize is how much is kept of a file's head, and of its tail: what is not larger is known as a whole,
// and the tables at the end of an ELF file or a zip archive are in reach.
const sampleSize = 512 << 10

// sample is what is kept of a file that streams by.
type sample struct {
	size    int64 // the file's
	offset  int64 // of it, seen so far
	head    []byte
	tail    []byte // the last bytes, but for those that are in head
	recent  []byte // the last bytes seen, at most regionBefore
	members members
}

func (s *sample) reset(e *Entry) {
	s.size, s.offset = e.Size, 0
	s.head, s.tail, s.recent = s.head[:0], s.tail[:0], s.recent[:0]
	s.members = members{}
}

// see takes the file's next bytes.
func (s *sample) see(p []byte) {
	s.members.feed(p)
	if room := sampleSize - len(s.head); room > 0 {
		s.head = append(s.head, p[:min(room, len(p))]...)
	}
	if from := max(s.tailStart()-s.offset, 0); from < int64(len(p)) {
		s.tail = append(s.tail, p[from:]...)
	}
	s.offset += int64(len(p))
	if len(p) >= regionBefore {
		s.recent = append(s.recent[:0], p[len(p)-regionBefore:]...)
		return
	}
	keep := min(len(s.recent), regionBefore-len(p))
	copy(s.recent, s.recent[len(s.recent)-keep:])
	s.recent = append(s.recent[:keep], p...)
}

func (s *sample) tailStart() int64 { return max(s.size-sampleSize, sampleSize) }

// whole says that head is all there is.
func (s *sample) whole() bool { return s.size <= sampleSize }

// before appends the bytes in front of the end of p, which is about to be seen.
func (s *sample) before(to, p []byte) []byte {
	if len(p) < regionBefore {
		from := max(len(s.recent)-(regionBefore-len(p)), 0)
		to = append(to, s.recent[from:]...)
	}
	return append(to, p[max(len(p)-regionBefore, 0):]...)
}

var errNotKept = errors.New("that part of the file was not kept")

// ReadAt reads from what was kept.
func (s *sample) ReadAt(p []byte, offset int64) (int, error) {
	switch end := offset + int64(len(p)); {
	case offset < 0:
		return 0, errNotKept
	case offset >= s.size:
		return 0, io.EOF
	case end <= int64(len(s.head)) || s.whole():
		return s.copy(p, s.head[min(offset, int64(len(s.head))):])
	case offset >= s.tailStart():
		return s.copy(p, s.tail[min(offset-s.tailStart(), int64(len(s.tail))):])
	case offset < int64(len(s.head)) && s.tailStart() == sampleSize:
		n := copy(p, s.head[offset:])
		more, err := s.ReadAt(p[n:], offset+int64(n))
		return n + more, err
	}
	return 0, errNotKept
}

func (s *sample) copy(p, from []byte) (int, error) {
	n := copy(p, from)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
