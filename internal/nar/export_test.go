package nar

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestReadExport(t *testing.T) {
	a, b := nartest.RandomObject("a", 10), nartest.RandomObject("b", 300_000)
	b.Refs = []nix.StorePath{b.Path, a.Path, a.Path}
	b.Deriver = nartest.Path("b.drv")
	stream := nartest.Export(a, b)

	for name, r := range map[string]io.Reader{
		"at once":       bytes.NewReader(stream),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(stream)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		var nars bytes.Buffer
		var objects []Object
		err := ReadExport(r, CopyTo(&nars), func(o Object) error {
			objects = append(objects, o)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []Object{
			{Path: a.Path},
			{Path: b.Path, References: nix.SortedPaths(b.Refs), Deriver: b.Deriver},
		}
		if diff := cmp.Diff(want, objects); diff != "" {
			t.Errorf("%s: objects (-want +got):\n%s", name, diff)
		}
		if !bytes.Equal(nars.Bytes(), append(a.NAR(), b.NAR()...)) {
			t.Errorf("%s: the NARs differ from the written ones", name)
		}
	}
}

func TestReadExportMalformed(t *testing.T) {
	p := nartest.Path("p")
	nar := nartest.File([]byte("content"))
	entry := func(name string) []byte {
		return nartest.Words("entry", "(", "name", name, "node", "(", "type", "symlink", "target", "t", ")", ")")
	}
	object := func(nar []byte) []byte { return nartest.Words(1, nar, nartest.ExportMagic, p, 0, "", 0, 0) }
	dirOf := func(entries ...[]byte) []byte {
		return object(nartest.Words(nartest.Magic, "(", "type", "directory", bytes.Join(entries, nil), ")"))
	}
	deep := bytes.Repeat(nartest.Words("(", "type", "directory", "entry", "(", "name", "d", "node"), maxDepth+2)
	padded := object(nar)
	padded[bytes.LastIndex(padded, []byte("content"))+len("content")] = 'x'

	tests := []struct {
		name   string
		stream []byte
		want   string
	}{
		{"empty", nil, "store object 1: at byte 0: unexpected EOF"},
		{"not an export", []byte("<html>\n<body>"), "where 0 or 1 is expected"},
		{"not a NAR", nartest.Words(1, "nix-archive-2"), `"nix-archive-2" where "nix-archive-1" must be`},
		{"no type", nartest.Words(1, nartest.Magic, "(", "typ"), `"typ" where "type" must be`},
		{"unknown type", nartest.Words(1, nartest.Magic, "(", "type", "fifo"), `"fifo" is not a type of file`},
		{"executable without contents", nartest.Words(1, nartest.Magic, "(", "type", "regular", "executable", "", ")"), `")" where "contents" must be`},
		{"no contents", nartest.Words(1, nartest.Magic, "(", "type", "regular", ")"), `")" where "contents" must be`},
		{"cut within a file", nartest.Words(1, nartest.Magic, "(", "type", "regular", "contents", uint64(1<<62)), "unexpected EOF"},
		{"file of 2^64-1 bytes", nartest.Words(1, nartest.Magic, "(", "type", "regular", "contents", ^uint64(0)), "a file of 18446744073709551615 bytes"},
		{"padding", padded, "padding that is not zero"},
		{"long token", nartest.Words(1, nartest.Magic, "(", "type", uint64(1<<40)), "a string of 1099511627776 bytes; the limit is 16"},
		{"long target", nartest.Words(1, nartest.Magic, "(", "type", "symlink", "target", 4096), "the limit is 4095"},
		{"long name", dirOf(entry(strings.Repeat("n", 256))), "the limit is 255"},
		{"empty name", dirOf(entry("")), `"" is not a valid file name`},
		{"dot", dirOf(entry(".")), `"." is not a valid file name`},
		{"dot dot", dirOf(entry("..")), `".." is not a valid file name`},
		{"slash", dirOf(entry("a/b")), `"a/b" is not a valid file name`},
		{"NUL", dirOf(entry("a\x00b")), `"a\x00b" is not a valid file name`},
		{"out of order", dirOf(entry("b"), entry("a")), `the name "a" after "b" is out of order`},
		{"twice", dirOf(entry("a"), entry("a")), `the name "a" after "a" is out of order`},
		{"no entry", dirOf(nartest.Words("entries")), `"entries" where "entry" must be`},
		{"deep", nartest.Words(1, nartest.Magic, deep), "directories nested deeper than 2048"},
		{"magic", nartest.Words(1, nar, 1, p), "the magic number 0x1 where 0x4558494e is expected"},
		{"path", nartest.Words(1, nar, nartest.ExportMagic, "/nix/store/x"), "store path: "},
		{"path of another store", nartest.Words(1, nar, nartest.ExportMagic, strings.Replace(string(p), "nix", "gnu", 1)), "not in /nix/store"},
		{"path not plain", nartest.Words(1, nar, nartest.ExportMagic, strings.Replace(string(p), "/store", "/./store", 1)), "is not the plain form of"},
		{"long path", nartest.Words(1, nar, nartest.ExportMagic, uint64(1<<63)), "the limit is 255"},
		{"many references", nartest.Words(1, nar, nartest.ExportMagic, p, uint64(1<<60)), "1152921504606846976 references; the limit is 16384"},
		{"reference", nartest.Words(1, nar, nartest.ExportMagic, p, 1, "x"), "references: "},
		{"deriver", nartest.Words(1, nar, nartest.ExportMagic, p, 0, "x"), "deriver: "},
		{"signature", nartest.Words(1, nar, nartest.ExportMagic, p, 0, "", 1, "sig"), "0x1 where 0 is expected"},
		{"no end", nartest.Words(1, nar, nartest.ExportMagic, p, 0, "", 0), "store object 2: at byte"},
		{"data after the end", append(object(nar), 'x'), "more data after the end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := ReadExport(bytes.NewReader(test.stream), CopyTo(io.Discard), func(Object) error { return nil })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v; want one with %q", err, test.want)
			}
		})
	}
	t.Run("names that are odd but right", func(t *testing.T) {
		stream := dirOf(entry("+"), entry("..."), entry("..data"), entry("A"), entry("a"), entry("\xff"))
		if err := ReadExport(bytes.NewReader(stream), CopyTo(io.Discard), func(Object) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// A truncated stream is always an error.
func TestReadExportTruncated(t *testing.T) {
	stream := nartest.Export(nartest.RandomObject("a", 10), nartest.RandomObject("b", 3, nartest.Path("a")))
	for n := range stream {
		err := ReadExport(bytes.NewReader(stream[:n]), CopyTo(io.Discard), func(Object) error { return nil })
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: the error is %v", n, err)
		}
	}
}

func TestReadExportPassesErrors(t *testing.T) {
	mine := errors.New("mine")
	stream := nartest.Export(nartest.RandomObject("a", 100_000))
	fail := func(Object) error { return mine }
	pass := func(Object) error { return nil }
	for name, err := range map[string]error{
		"reader": ReadExport(io.MultiReader(bytes.NewReader(stream[:500]), iotest.ErrReader(mine)), CopyTo(io.Discard), pass),
		"nar":    ReadExport(bytes.NewReader(stream), CopyTo(failingWriter{mine}), pass),
		"visit":  ReadExport(bytes.NewReader(stream), CopyTo(io.Discard), fail),
	} {
		if !errors.Is(err, mine) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// FuzzReadExport looks for streams that cause a crash, that grow, or that are different when they are written and read again.
func FuzzReadExport(f *testing.F) {
	dir := f.TempDir()
	for _, name := range []string{"..data", "+", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		f.Fatal(err)
	}
	p := nartest.Path("p")
	f.Add(nartest.Export())
	f.Add(nartest.Export(nartest.RandomObject("a", 1), nartest.RandomObject("b", 9, nartest.Path("a"))))
	f.Add(nartest.Words(1, dump(f, dir), nartest.ExportMagic, p, 1, p, nartest.Path("p.drv"), 0, 0))
	f.Add(nartest.Words(1, nartest.Magic, "(", "type", "directory", ")", nartest.ExportMagic, p, 1<<20))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var nars bytes.Buffer
		var out []byte
		err := ReadExport(bytes.NewReader(stream), CopyTo(&nars), func(o Object) error {
			out = append(out, nartest.Words(1, nars.Bytes(), nartest.ExportMagic, o.Path, len(o.References))...)
			for _, ref := range o.References {
				out = append(out, nartest.Words(ref)...)
			}
			out = append(out, nartest.Words(o.Deriver, 0)...)
			nars.Reset()
			return nil
		})
		if nars.Len() > len(stream) {
			t.Errorf("%d bytes of NAR from a stream of %d", nars.Len(), len(stream))
		}
		if err != nil {
			return
		}
		// References are sorted, so the order can differ from the stream, but the result is not longer.
		if out = append(out, nartest.Words(0)...); len(out) > len(stream) {
			t.Errorf("%d bytes became %d", len(stream), len(out))
		}
		if err := ReadExport(bytes.NewReader(out), CopyTo(io.Discard), func(Object) error { return nil }); err != nil {
			t.Errorf("a written stream cannot be read: %v", err)
		}
	})
}
