package contract

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"strings"
	"testing"

	"zombiezen.com/go/nix/nar"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	objectA nix.StorePath = "/nix/store/00000000000000000000000000000000-a"
	objectB nix.StorePath = "/nix/store/11111111111111111111111111111111-b"
)

// member is a file of a store object; a directory where it has neither text nor target.
type member struct {
	path, text, target string
	mode               fs.FileMode
}

// exported returns the objects as nix-store --export writes them.
func exported(t *testing.T, objects map[nix.StorePath][]member) []byte {
	t.Helper()
	var stream bytes.Buffer
	number := func(n uint64) { stream.Write(binary.LittleEndian.AppendUint64(nil, n)) }
	text := func(s string) {
		number(uint64(len(s)))
		stream.WriteString(s)
		stream.Write(make([]byte, -len(s)&7))
	}
	for _, path := range []nix.StorePath{objectA, objectB} {
		number(1)
		w := nar.NewWriter(&stream)
		for _, m := range objects[path] {
			h := &nar.Header{Path: m.path, Mode: m.mode, Size: int64(len(m.text)), LinkTarget: m.target}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(m.text)); m.text != "" && err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		number(0x4558494e)
		text(string(path))
		number(0) // references
		text("")  // deriver
		number(0)
	}
	number(0)
	return stream.Bytes()
}

var members = map[nix.StorePath][]member{
	objectA: {
		{path: "", mode: fs.ModeDir | 0o555},
		{path: "big", text: strings.Repeat("x", keepText+1), mode: 0o444},
		{path: "bin", mode: fs.ModeDir | 0o555},
		{path: "bin/elf", text: "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 11) + "\xb7\x00" + strings.Repeat("\x00", keepProgram), mode: 0o555},
		{path: "bin/script", text: "#!/bin/sh\n", mode: 0o555},
		{path: "loop", target: "loop", mode: fs.ModeSymlink | 0o777},
		{path: "other", target: string(objectB) + "/share", mode: fs.ModeSymlink | 0o777},
		{path: "outside", target: "/etc/passwd", mode: fs.ModeSymlink | 0o777},
		{path: "sbin", target: "./bin", mode: fs.ModeSymlink | 0o777},
	},
	objectB: {
		{path: "", mode: fs.ModeDir | 0o555},
		{path: "share", mode: fs.ModeDir | 0o555},
		{path: "share/back", target: "../share/text", mode: fs.ModeSymlink | 0o777},
		{path: "share/text", text: "hello", mode: 0o444},
	},
}

func TestReadFiles(t *testing.T) {
	stream := exported(t, members)
	o, err := ReadFiles(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/sbin/script":  "#!/bin/sh\n",
		"/other/text":   "hello",
		"/other/back":   "hello",
		"/sbin/../sbin": "",
	} {
		if f, err := o.find(string(objectA) + name); err != nil || string(f.Data) != want {
			t.Errorf("find %s: %v, %v", name, f, err)
		}
	}
	for _, name := range []string{"/loop", "/outside", "/none", "/bin/script/x", "/other/none"} {
		if f, err := o.find(string(objectA) + name); err == nil {
			t.Errorf("find %s: %+v, want an error", name, f)
		}
	}
	for name, want := range map[string]int{"/big": keepHead, "/bin/elf": keepHead} {
		if f, err := o.find(string(objectA) + name); err != nil || len(f.Data) != want {
			t.Errorf("%s keeps %d bytes, want %d (%v)", name, len(f.Data), want, err)
		}
	}
	elf, err := o.find(string(objectA) + "/bin/elf")
	if err != nil || !elf.Executable() || !elf.IsELF() || elf.machine() != matrix.AArch64Linux.ELF().Machine {
		t.Errorf("bin/elf is %+v, %v", elf.machine(), err)
	}
	if bin, _ := o.find(string(objectA) + "/bin"); strings.Join(bin.names, " ") != "elf script" {
		t.Errorf("bin holds %q", bin.names)
	}
}

// A stream that ends too early is an error.
func TestReadFilesFailsOnATruncatedStream(t *testing.T) {
	stream := exported(t, map[nix.StorePath][]member{objectA: {{text: "hello", mode: 0o444}}, objectB: {{target: "x", mode: fs.ModeSymlink | 0o777}}})
	for n := range stream {
		if _, err := ReadFiles(bytes.NewReader(stream[:n])); err == nil {
			t.Errorf("%d of %d bytes: no error", n, len(stream))
		}
	}
	if files, err := ReadFiles(bytes.NewReader(stream)); err != nil || len(files) != 2 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
