package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// formats are tried in this order. A Debian package is an ar archive of tar archives.
var formats = []Format{
	{"ELF", begins(elf.ELFMAG), readELF},
	{"ar", begins(arMagic), readAr},
	{"tar", func(_ string, data []byte) bool { return len(data) >= 512 && string(data[257:262]) == "ustar" }, readTar},
	{"zip", begins("PK\x03\x04"), readZip},
	{"gzip", begins("\x1f\x8b\x08"), readGzip},
	{"xz", begins("\xfd7zXZ\x00"), compressed(nar.XZ)},
	{"zstd", begins("\x28\xb5\x2f\xfd"), compressed(nar.Zstd)},
	{"bzip2", begins("BZh"), compressed(nar.Bzip2)},
	{"Python bytecode", isBytecode, readBytecode},
}

const arMagic = "!<arch>\n"

func begins(magic string) func(string, []byte) bool {
	return func(_ string, data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }
}

// compressed is a format with one member.
func compressed(c nar.Compression) func([]byte, addFunc) error {
	return func(data []byte, add addFunc) error {
		r, err := nar.NewDecompressor(bytes.NewReader(data), c)
		if err != nil {
			return err
		}
		defer r.Close()
		return add(string(c)+" contents", nil, r)
	}
}

func readGzip(data []byte, add addFunc) error {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return add("gzip contents", []Field{{"mtime", when(r.ModTime)}, {"name", r.Name}}, r)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func readTar(data []byte, add addFunc) error {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		header := []Field{
			{"mtime", when(h.ModTime)},
			{"mode", fmt.Sprintf("%04o", h.Mode)},
			{"uid", strconv.Itoa(h.Uid)},
			{"gid", strconv.Itoa(h.Gid)},
			{"owner", h.Uname},
			{"group", h.Gname},
			{"type", string(rune(h.Typeflag))},
			{"target", h.Linkname},
		}
		if err := add("tar member "+h.Name, header, r); err != nil {
			return err
		}
	}
}

func readZip(data []byte, add addFunc) error {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	for _, file := range r.File {
		header := []Field{
			{"mtime", when(file.Modified)},
			{"mode", file.Mode().String()},
		}
		contents, err := file.Open()
		if err != nil {
			return err
		}
		err = add("zip member "+file.Name, header, contents)
		_ = contents.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// readAr reads the format of ar(5), with the long names of GNU and of BSD.
func readAr(data []byte, add addFunc) error {
	const headerSize = 60
	var names string
	for data = data[len(arMagic):]; len(data) > 0; {
		if len(data) < headerSize || string(data[58:60]) != "`\n" {
			return errors.New("invalid ar header")
		}
		h := string(data[:headerSize])
		size, err := strconv.Atoi(strings.TrimSpace(h[48:58]))
		if err != nil || size < 0 || size > len(data)-headerSize {
			return errors.New("invalid size of an ar member")
		}
		contents := data[headerSize : headerSize+size]
		data = data[min(headerSize+size+size%2, len(data)):]
		raw := strings.TrimSpace(h[:16])
		if raw == "//" {
			names = string(contents)
			continue
		}
		name, inner := arName(raw, names, contents)
		seconds, _ := strconv.ParseInt(strings.TrimSpace(h[16:28]), 10, 64)
		header := []Field{
			{"mtime", when(time.Unix(seconds, 0))},
			{"uid", strings.TrimSpace(h[28:34])},
			{"gid", strings.TrimSpace(h[34:40])},
			{"mode", strings.TrimSpace(h[40:48])},
		}
		if err := add(name, header, bytes.NewReader(inner)); err != nil {
			return err
		}
	}
	return nil
}

// arName returns the name of a member, and its contents without the name. GNU has long names in a table, where each ends
// with "/" and a line break; the header has "/" and an offset. BSD has them in front of the contents: "#1/" and a length.
func arName(raw, names string, contents []byte) (string, []byte) {
	if raw == "/" || raw == "/SYM64/" {
		return "ar symbol table", contents
	}
	if digits, ok := strings.CutPrefix(raw, "#1/"); ok {
		if n, err := strconv.Atoi(digits); err == nil && n >= 0 && n <= len(contents) {
			return "ar member " + strings.TrimRight(string(contents[:n]), "\x00"), contents[n:]
		}
	}
	if digits, ok := strings.CutPrefix(raw, "/"); ok {
		if at, err := strconv.Atoi(digits); err == nil && at >= 0 && at < len(names) {
			if name, _, ended := strings.Cut(names[at:], "/\n"); ended {
				return "ar member " + name, contents
			}
		}
		return "ar member " + raw, contents
	}
	return "ar member " + strings.TrimSuffix(raw, "/"), contents
}

// readELF reads the sections of an ELF file. A file without a table of sections has none.
func readELF(data []byte, add addFunc) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
			continue
		}
		if err := add("section "+s.Name, nil, s.Open()); err != nil {
			return err
		}
	}
	return nil
}

// isBytecode recognizes a .pyc file with the time of its source in the header: PEP 552, flags 0.
// The first number is 3390 for Python 3.7, and grows by a few with each version.
func isBytecode(name string, data []byte) bool {
	if path.Ext(name) != ".pyc" || len(data) < 16 || string(data[2:8]) != "\r\n\x00\x00\x00\x00" {
		return false
	}
	magic := binary.LittleEndian.Uint16(data)
	return magic >= 3390 && magic < 4000
}

func readBytecode(data []byte, add addFunc) error {
	mtime := time.Unix(int64(binary.LittleEndian.Uint32(data[8:])), 0)
	return add("Python bytecode", []Field{{"mtime of the source", when(mtime)}}, bytes.NewReader(data[16:]))
}
