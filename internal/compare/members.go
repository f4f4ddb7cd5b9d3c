package compare

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// members follows the headers of an ar or tar archive while it streams by, and notes the members that hold
// the offsets in question. Formats: ar(5), and "ustar" of POSIX pax.
type members struct {
	format  *archiveFormat
	ignored bool // no archive, or its end
	offset  int64
	next    int64  // where the next header begins
	header  []byte // what there is of it

	current member
	names   []byte  // the table of long names of an ar archive, as far as it has come
	pending []int64 // wanted, and not come to yet
	found   []located
}

// member is a member of an archive: its header, from start, and its contents, to end.
type member struct {
	start, end int64
	header     []byte
	name       string
}

type located struct {
	offset int64
	member member
}

// archiveFormat is what is particular to a format.
type archiveFormat struct {
	name   string
	header int64 // bytes of a header
	align  int64 // where headers begin
	size   func(header []byte) (int64, bool)
	title  func(header []byte) string
	fields []headerField
}

// headerField is a field of a header, with the cause that is to be thought of where it differs.
type headerField struct {
	name       string
	start, end int
	cause      Cause
	show       func([]byte) string
}

const (
	arMagic  = "!<arch>\n"
	tarMagic = "ustar"
)

var ar = &archiveFormat{
	name: "ar", header: 60, align: 2,
	size:  func(h []byte) (int64, bool) { return parseNumber(h[48:58], 10) },
	title: func(h []byte) string { return strings.TrimSuffix(trimField(h[:16]), "/") },
	fields: []headerField{
		{"mtime", 16, 28, ArchiveTime, showTime(10)},
		{"uid", 28, 34, Owner, trimField},
		{"gid", 34, 40, Owner, trimField},
		{"mode", 40, 48, Permissions, trimField},
	},
}

var tar = &archiveFormat{
	name: "tar", header: 512, align: 512,
	size: tarSize,
	title: func(h []byte) string {
		name := trimField(h[:100])
		if prefix := trimField(h[345:500]); prefix != "" {
			name = prefix + "/" + name
		}
		return name
	},
	fields: []headerField{
		{"mtime", 136, 148, ArchiveTime, showTime(8)},
		{"mode", 100, 108, Permissions, trimField},
		{"uid", 108, 116, Owner, trimField},
		{"gid", 116, 124, Owner, trimField},
		{"owner", 265, 297, Owner, trimField},
		{"group", 297, 329, Owner, trimField},
	},
}

func tarSize(h []byte) (int64, bool) {
	if h[0] == 0 {
		return 0, false // the blocks of zeros at the end
	}
	if h[124]&0x80 == 0 {
		return parseNumber(h[124:136], 8)
	}
	var n int64 // a number in base 256, as GNU tar writes what octal digits have no room for
	for _, c := range h[128:136] {
		n = n<<8 | int64(c)
	}
	return n, n >= 0
}

func parseNumber(field []byte, base int) (int64, bool) {
	n, err := strconv.ParseInt(trimField(field), base, 64)
	return n, err == nil && n >= 0
}

func trimField(field []byte) string {
	before, _, _ := bytes.Cut(field, []byte{0})
	return strings.TrimSpace(string(before))
}

func showTime(base int) func([]byte) string {
	return func(field []byte) string {
		seconds, ok := parseNumber(field, base)
		if !ok {
			return trimField(field)
		}
		return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}
}

// want asks for the member that holds an offset.
func (m *members) want(offset int64) {
	if m.format != nil && m.current.start <= offset && offset < m.current.end {
		m.found = append(m.found, located{offset, m.current})
	} else if !m.ignored {
		m.pending = append(m.pending, offset)
	}
}

// at returns the member that holds an offset that was asked for.
func (m *members) at(offset int64) (member, bool) {
	for _, l := range m.found {
		if l.offset == offset {
			return l.member, true
		}
	}
	return member{}, false
}

// feed takes the next bytes of the file.
func (m *members) feed(p []byte) {
	for len(p) > 0 && !m.ignored {
		if m.offset < m.next {
			n := min(int64(len(p)), m.next-m.offset)
			if m.current.name == longNames && len(m.names) < maxLongNames {
				m.names = append(m.names, p[:n]...)
			}
			m.offset += n
			p = p[n:]
			continue
		}
		n := min(len(p), m.headerSize()-len(m.header))
		m.header = append(m.header, p[:n]...)
		m.offset += int64(n)
		p = p[n:]
		if m.format == nil {
			m.detect()
		} else if len(m.header) == m.headerSize() {
			m.enter()
		}
	}
}

func (m *members) headerSize() int {
	if m.format == nil {
		return 512
	}
	return int(m.format.header)
}

// detect looks for what an archive begins with. A tar archive tells by its first header, an ar archive before it.
func (m *members) detect() {
	switch h := m.header; {
	case len(h) >= len(arMagic) && string(h[:len(arMagic)]) == arMagic:
		m.format = ar
		// Begin again behind the magic word, with what there is already.
		rest := bytes.Clone(h[len(arMagic):])
		m.header, m.offset, m.next = m.header[:0], int64(len(arMagic)), int64(len(arMagic))
		m.feed(rest)
	case len(h) == 512 && string(h[257:262]) == tarMagic:
		m.format = tar
		m.enter()
	case len(h) == 512:
		m.ignored = true
	}
}

// enter takes a complete header.
func (m *members) enter() {
	start := m.offset - m.format.header
	size, ok := m.format.size(m.header)
	if !ok || size > 1<<60 {
		m.ignored = true
		return
	}
	m.current = member{start, m.offset + size, bytes.Clone(m.header), m.title(m.header)}
	m.next = (m.current.end + m.format.align - 1) / m.format.align * m.format.align
	m.header = m.header[:0]

	pending := m.pending[:0]
	for _, offset := range m.pending {
		if start <= offset && offset < m.next {
			m.found = append(m.found, located{offset, m.current})
		} else {
			pending = append(pending, offset)
		}
	}
	m.pending = pending
}

const (
	// longNames is the name of the member of a GNU archive that has the names of those with long ones. Such a member is
	// called "/" and the offset of its name in the table, where it ends with "/" and a line break.
	longNames = "//"
	// maxLongNames bounds what is kept of the table, in bytes.
	maxLongNames = 1 << 20
)

// title returns the name of a member.
func (m *members) title(header []byte) string {
	if m.format != ar {
		return m.format.title(header)
	}
	raw := trimField(header[:16])
	if raw == longNames {
		return longNames
	}
	digits, ok := strings.CutPrefix(raw, "/")
	at, err := strconv.Atoi(digits)
	if ok && err == nil && at >= 0 && at < len(m.names) {
		if name, _, ended := strings.Cut(string(m.names[at:]), "/\n"); ended {
			return name
		}
	}
	return m.format.title(header)
}

// describe says where in a member an offset is.
func (m *members) describe(in member, offset int64) string {
	name := shown(in.name)
	if at := int(offset - in.start); at < len(in.header) {
		for _, f := range m.format.fields {
			if f.start <= at && at < f.end {
				return fmt.Sprintf("%s header of %s, %s", m.format.name, name, f.name)
			}
		}
		return fmt.Sprintf("%s header of %s", m.format.name, name)
	}
	return fmt.Sprintf("%s member %s", m.format.name, name)
}

// headerEvidence compares the headers of one member in two archives.
func headerEvidence(format *archiveFormat, a, b member) []Evidence {
	var found []Evidence
	for _, f := range format.fields {
		p, q := a.header[f.start:f.end], b.header[f.start:f.end]
		if !bytes.Equal(p, q) {
			place := fmt.Sprintf("%s header of %s, %s", format.name, shown(a.name), f.name)
			found = append(found, Evidence{f.cause, f.show(p), f.show(q), place})
		}
	}
	return found
}
