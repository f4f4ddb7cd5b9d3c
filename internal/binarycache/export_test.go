package binarycache

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

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestReadExport(t *testing.T) {
	a, b := randomObject("a", 10), randomObject("b", 300_000)
	b.refs = []nix.StorePath{b.path, a.path, a.path}
	b.deriver = testPath("b.drv")
	stream := exportOf(a, b)

	for name, r := range map[string]io.Reader{
		"at once":       bytes.NewReader(stream),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(stream)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		var nars bytes.Buffer
		var objects []Object
		err := ReadExport(r, &nars, func(o Object) error {
			objects = append(objects, o)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []Object{
			{Path: a.path},
			{Path: b.path, References: nix.SortedPaths(b.refs), Deriver: b.deriver},
		}
		if diff := cmp.Diff(want, objects); diff != "" {
			t.Errorf("%s: objects (-want +got):\n%s", name, diff)
		}
		if !bytes.Equal(nars.Bytes(), append(a.nar(), b.nar()...)) {
			t.Errorf("%s: the NARs are not what was written", name)
		}
	}
}

func TestReadExportMalformed(t *testing.T) {
	p := testPath("p")
	nar := fileNAR([]byte("content"))
	entry := func(name string) []byte {
		return words("entry", "(", "name", name, "node", "(", "type", "symlink", "target", "t", ")", ")")
	}
	object := func(nar []byte) []byte { return words(1, nar, exportMagic, p, 0, "", 0, 0) }
	dirOf := func(entries ...[]byte) []byte {
		return object(words(narMagic, "(", "type", "directory", bytes.Join(entries, nil), ")"))
	}
	deep := bytes.Repeat(words("(", "type", "directory", "entry", "(", "name", "d", "node"), maxDepth+2)
	padded := object(nar)
	padded[bytes.LastIndex(padded, []byte("content"))+len("content")] = 'x'

	tests := []struct {
		name   string
		stream []byte
		want   string
	}{
		{"empty", nil, "store object 1: at byte 0: unexpected EOF"},
		{"not an export", []byte("<html>\n<body>"), "where 0 or 1 is due"},
		{"not a NAR", words(1, "nix-archive-2"), `"nix-archive-2" where "nix-archive-1" is due`},
		{"no type", words(1, narMagic, "(", "typ"), `"typ" where "type" is due`},
		{"unknown type", words(1, narMagic, "(", "type", "fifo"), `"fifo" is no type of file`},
		{"executable without contents", words(1, narMagic, "(", "type", "regular", "executable", "", ")"), `")" where "contents" is due`},
		{"no contents", words(1, narMagic, "(", "type", "regular", ")"), `")" where "contents" is due`},
		{"cut within a file", words(1, narMagic, "(", "type", "regular", "contents", uint64(1<<62)), "unexpected EOF"},
		{"file of 2^64-1 bytes", words(1, narMagic, "(", "type", "regular", "contents", ^uint64(0)), "unexpected EOF"},
		{"padding", padded, "padding that is not zero"},
		{"long token", words(1, narMagic, "(", "type", uint64(1<<40)), "a string of 1099511627776 bytes, where 16 are the most"},
		{"long target", words(1, narMagic, "(", "type", "symlink", "target", 4096), "where 4095 are the most"},
		{"long name", dirOf(entry(strings.Repeat("n", 256))), "where 255 are the most"},
		{"empty name", dirOf(entry("")), `"" cannot name a file`},
		{"dot", dirOf(entry(".")), `"." cannot name a file`},
		{"dot dot", dirOf(entry("..")), `".." cannot name a file`},
		{"slash", dirOf(entry("a/b")), `"a/b" cannot name a file`},
		{"NUL", dirOf(entry("a\x00b")), `"a\x00b" cannot name a file`},
		{"out of order", dirOf(entry("b"), entry("a")), `the name "a" after "b" is out of order`},
		{"twice", dirOf(entry("a"), entry("a")), `the name "a" after "a" is out of order`},
		{"no entry", dirOf(words("entries")), `"entries" where "entry" is due`},
		{"deep", words(1, narMagic, deep), "directories nested deeper than 2048"},
		{"magic", words(1, nar, 1, p), "the magic number 0x1 where 0x4558494e is due"},
		{"path", words(1, nar, exportMagic, "/nix/store/x"), "store path: "},
		{"path of another store", words(1, nar, exportMagic, strings.Replace(string(p), "nix", "gnu", 1)), "not in /nix/store"},
		{"path not plain", words(1, nar, exportMagic, strings.Replace(string(p), "/store", "/./store", 1)), "is not the plain form of"},
		{"long path", words(1, nar, exportMagic, uint64(1<<63)), "where 255 are the most"},
		{"many references", words(1, nar, exportMagic, p, uint64(1<<60)), "1152921504606846976 references, where 16384 are the most"},
		{"reference", words(1, nar, exportMagic, p, 1, "x"), "references: "},
		{"deriver", words(1, nar, exportMagic, p, 0, "x"), "deriver: "},
		{"signature", words(1, nar, exportMagic, p, 0, "", 1, "sig"), "0x1 where 0 is due"},
		{"no end", words(1, nar, exportMagic, p, 0, "", 0), "store object 2: at byte"},
		{"data after the end", append(object(nar), 'x'), "more data after the end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := ReadExport(bytes.NewReader(test.stream), io.Discard, func(Object) error { return nil })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v; want one with %q", err, test.want)
			}
		})
	}
	t.Run("names that are odd but right", func(t *testing.T) {
		stream := dirOf(entry("+"), entry("..."), entry("..data"), entry("A"), entry("a"), entry("\xff"))
		if err := ReadExport(bytes.NewReader(stream), io.Discard, func(Object) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// Wherever a stream is cut, the error says so.
func TestReadExportTruncated(t *testing.T) {
	stream := exportOf(randomObject("a", 10), randomObject("b", 3, testPath("a")))
	for n := range stream {
		err := ReadExport(bytes.NewReader(stream[:n]), io.Discard, func(Object) error { return nil })
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: the error is %v", n, err)
		}
	}
}

func TestReadExportPassesErrors(t *testing.T) {
	mine := errors.New("mine")
	stream := exportOf(randomObject("a", 100_000))
	fail := func(Object) error { return mine }
	pass := func(Object) error { return nil }
	for name, err := range map[string]error{
		"reader": ReadExport(io.MultiReader(bytes.NewReader(stream[:500]), iotest.ErrReader(mine)), io.Discard, pass),
		"nar":    ReadExport(bytes.NewReader(stream), failingWriter{mine}, pass),
		"visit":  ReadExport(bytes.NewReader(stream), io.Discard, fail),
	} {
		if !errors.Is(err, mine) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// FuzzReadExport looks for streams that crash, that grow, or that are read otherwise when read again.
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
	p := testPath("p")
	f.Add(exportOf())
	f.Add(exportOf(randomObject("a", 1), randomObject("b", 9, testPath("a"))))
	f.Add(words(1, treeNAR(f, dir), exportMagic, p, 1, p, testPath("p.drv"), 0, 0))
	f.Add(words(1, narMagic, "(", "type", "directory", ")", exportMagic, p, 1<<20))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var nars bytes.Buffer
		var out []byte
		err := ReadExport(bytes.NewReader(stream), &nars, func(o Object) error {
			out = append(out, words(1, nars.Bytes(), exportMagic, o.Path, len(o.References))...)
			for _, ref := range o.References {
				out = append(out, words(ref)...)
			}
			out = append(out, words(o.Deriver, 0)...)
			nars.Reset()
			return nil
		})
		if nars.Len() > len(stream) {
			t.Errorf("%d bytes of NAR from a stream of %d", nars.Len(), len(stream))
		}
		if err != nil {
			return
		}
		// References are sorted: a stream in which they were not comes back in another order, but as long at most.
		if out = append(out, words(0)...); len(out) > len(stream) {
			t.Errorf("%d bytes became %d", len(stream), len(out))
		}
		if err := ReadExport(bytes.NewReader(out), io.Discard, func(Object) error { return nil }); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
