package compare

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// places tells what holds an offset of one file, as far as its format and what was kept of it say.
type places struct {
	sample *sample
	name   string // of the file
	elf    *elf.File
	zip    []zipMember
}

func newPlaces(s *sample, name string) *places {
	p := &places{sample: s, name: name}
	switch {
	case strings.HasPrefix(string(s.head), elf.ELFMAG):
		// Where the section table was not kept, this is an error: the file is then one without places.
		p.elf, _ = elf.NewFile(s)
	case strings.HasPrefix(string(s.head), zipLocal):
		p.zip = readZip(s)
	}
	return p
}

// at returns the name of what holds an offset, or nothing.
func (p *places) at(offset int64) string {
	switch m, ok := p.sample.members.at(offset); {
	case ok:
		return p.sample.members.describe(m, offset)
	case p.elf != nil:
		return elfPlace(p.elf, offset)
	case p.zip != nil:
		return zipPlace(p.zip, offset)
	case p.isGzip() && gzipTime <= offset && offset < gzipTime+4:
		return "gzip header, mtime"
	case p.isBytecode() && bytecodeTime <= offset && offset < bytecodeTime+4:
		return "Python bytecode header, mtime of the source"
	}
	return ""
}

// elfPlace returns the section that holds an offset, or the segment where the sections are stripped.
func elfPlace(f *elf.File, offset int64) string {
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Type != elf.SHT_NULL && holds(s.Offset, s.FileSize, offset) {
			return "section " + shown(s.Name)
		}
	}
	if offset < 64 {
		return "ELF header"
	}
	for i, s := range f.Progs {
		if s.Type == elf.PT_LOAD && holds(s.Off, s.Filesz, offset) {
			return fmt.Sprintf("segment %d", i)
		}
	}
	return "between the sections"
}

func holds(start, size uint64, offset int64) bool {
	return uint64(offset) >= start && uint64(offset)-start < size
}

// The places of times in two headers: RFC 1952, and Python's importlib (PEP 552).
const (
	gzipMagic    = "\x1f\x8b\x08"
	gzipTime     = 4
	bytecodeTime = 8
)

func (p *places) isGzip() bool { return strings.HasPrefix(string(p.sample.head), gzipMagic) }

// isBytecode says that the file is Python's, with a time in its header: flags of 0 say so.
func (p *places) isBytecode() bool {
	h := p.sample.head
	return path.Ext(p.name) == ".pyc" && len(h) >= 16 && string(h[2:4]) == "\r\n" && string(h[4:8]) == "\x00\x00\x00\x00"
}

// headerTimes returns what times in the headers of two files differ.
func headerTimes(a, b *places) []Evidence {
	var found []Evidence
	word := func(at int, place string) {
		p, q := a.sample.head, b.sample.head
		if len(p) < at+4 || len(q) < at+4 || string(p[at:at+4]) == string(q[at:at+4]) {
			return
		}
		found = append(found, Evidence{ArchiveTime, showUnix(p[at:]), showUnix(q[at:]), place})
	}
	switch {
	case a.isGzip() && b.isGzip():
		word(gzipTime, "gzip header, mtime")
	case a.isBytecode() && b.isBytecode():
		word(bytecodeTime, "Python bytecode header, mtime of the source")
	}
	for i := range min(len(a.zip), len(b.zip)) {
		if m, n := a.zip[i], b.zip[i]; m.name == n.name && m.time != n.time {
			return append(found, Evidence{ArchiveTime, m.showTime(), n.showTime(), "zip entry " + shown(m.name) + ", mtime"})
		}
	}
	return found
}

func showUnix(word []byte) string {
	return time.Unix(int64(binary.LittleEndian.Uint32(word)), 0).UTC().Format(time.RFC3339)
}

// Of the zip format, from PKWARE's APPNOTE: the table at the end names each member with its place and time.
const (
	zipLocal     = "PK\x03\x04"
	zipCentral   = "PK\x01\x02"
	zipEnd       = "PK\x05\x06"
	zipEndSize   = 22
	maxZipShown  = 4096 // members
	zipEntrySize = 46
)

type zipMember struct {
	name  string
	start int64
	time  uint32 // date and time as DOS has them
}

func (m zipMember) showTime() string {
	date, clock := m.time>>16, m.time&0xffff
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", 1980+date>>9, date>>5&15, date&31, clock>>11, clock>>5&63, clock&31*2)
}

// readZip reads the table of a zip archive, in the order of the archive as a rule.
// Of an archive with more than it keeps, or with a table that is no table, it returns what it has.
func readZip(s *sample) []zipMember {
	from := max(s.size-zipEndSize-1<<16, 0)
	if s.size > sampleSize {
		from = max(from, s.tailStart())
	}
	end := make([]byte, s.size-from)
	if _, err := s.ReadAt(end, from); err != nil && err != io.EOF {
		return nil
	}
	at := strings.LastIndex(string(end), zipEnd)
	if at < 0 || at+zipEndSize > len(end) {
		return nil
	}
	offset := int64(binary.LittleEndian.Uint32(end[at+16:]))
	var members []zipMember
	for len(members) < maxZipShown {
		var entry [zipEntrySize]byte
		if _, err := s.ReadAt(entry[:], offset); err != nil || string(entry[:4]) != zipCentral {
			break
		}
		name := make([]byte, binary.LittleEndian.Uint16(entry[28:]))
		if _, err := s.ReadAt(name, offset+zipEntrySize); err != nil {
			break
		}
		members = append(members, zipMember{
			name:  string(name),
			start: int64(binary.LittleEndian.Uint32(entry[42:])),
			time:  uint32(binary.LittleEndian.Uint16(entry[14:]))<<16 | uint32(binary.LittleEndian.Uint16(entry[12:])),
		})
		offset += zipEntrySize + int64(len(name)) +
			int64(binary.LittleEndian.Uint16(entry[30:])) + int64(binary.LittleEndian.Uint16(entry[32:]))
	}
	return members
}

// zipPlace returns the member that begins last before an offset.
func zipPlace(members []zipMember, offset int64) string {
	best := -1
	for i, m := range members {
		if m.start <= offset && (best < 0 || m.start > members[best].start) {
			best = i
		}
	}
	switch {
	case best < 0:
		return ""
	case offset-members[best].start < 30:
		return "zip header of " + shown(members[best].name)
	}
	return "zip member " + shown(members[best].name)
}
