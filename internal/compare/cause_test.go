package compare

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What a line looks like. The lines are of the kind that builds leave; alpha is known to be a host.
func TestTextEvidence(t *testing.T) {
	const digestA, digestB = "s66mzxpvicwk07gjbjfw9izjfa797vsw", "zx4pkdcz3sxm4m5j7dyc9yxkn0p5b3ad"
	tests := []struct {
		name, a, b string
		want       []Cause
	}{
		{"date", "Wed Nov 25 04:46:33 UTC 2026", "Wed Nov 25 04:46:35 UTC 2026", []Cause{Timestamp}},
		{"ISO 8601", "built: 2026-11-25T04:46:33Z", "built: 2026-12-25T05:46:33+01:00", []Cause{Timestamp}},
		{"__DATE__", `"Nov 25 2026"`, `"Nov 26 2026"`, []Cause{Timestamp}},
		{"mail", "Wed, 25 Nov 2026 04:46:33 +0000", "Thu, 26 Nov 2026 04:46:33 +0000", []Cause{Timestamp}},
		{"clock", "at 04:46", "at 04:47", []Cause{Timestamp}},
		{"digits", "build-20261125044633", "build-20261125044635", []Cause{Timestamp}},
		{"seconds", "t=1764045993", "t=1764045995", []Cause{Timestamp}},
		{"nanoseconds", "1764045993123456789", "1764045995987654321", []Cause{Timestamp}},
		{"sandbox", "/build/source/a.c", "/tmp/nix-build-a.drv-0/source/a.c", []Cause{BuildPath}},
		{"home", `panicked at "/home/alice/src/main.rs"`, `panicked at "/home/bob/src/main.rs"`, []Cause{BuildPath}},
		{"temporary directory", "-I/tmp/nix-build-x.drv-0/i", "-I/tmp/nix-build-x.drv-1/i", []Cause{BuildPath}},
		{"compiler", "/nix/store/" + digestA + "-gcc-12.2.0/bin/cc", "/nix/store/" + digestB + "-gcc-13.1.0/bin/cc", []Cause{StorePath}},
		{"uuid", "id 6fa459ea-ee8a-3ca4-894e-db77e160355e", "id 16fd2706-8baf-433b-82d3-8c7fada847da", []Cause{RandomID}},
		{"hexadecimal", "salt=9f86d081884c7d65", "salt=2c26b46b68ffc68f", []Cause{RandomID}},
		{"mktemp", "tmp.Jx3kQ9ZbLw", "tmp.a8HnP2sVdE", []Cause{RandomID}},
		{"user and host", "gcc 12 (root@builder-1)", "gcc 12 (root@builder-2)", []Cause{Hostname}},
		{"host", "hostname: left", "hostname: right", []Cause{Hostname}},
		{"known host", "made by alpha today", "made by omega today", []Cause{Hostname}},
		{"localhost", "(localhost)", "(workstation)", []Cause{Hostname}},
		{"uname", "Linux left 6.1.0 x86_64", "Linux right 6.1.0 x86_64", []Cause{Hostname}},
		{"ls", "-rw-r--r-- a", "-rw-rw-r-- a", []Cause{Permissions}},
		{"octal", "umask 0022", "umask 0077", []Cause{Permissions}},
		{"mode", "mode=644", "mode=664", []Cause{Permissions}},
		{"month", "5. März 2026", "5. March 2026", []Cause{Locale}},
		{"day", "Donnerstag 05 x", "Thursday 05 x", []Cause{Locale}},
		{"abbreviation", "made Dec  5", "made Dez  5", []Cause{Locale}},
		{"words that could be days", "call main once", "call work once", nil},
		{"other words beside numbers", "main 3 items", "work 3 items", nil},
		{"variable", "LANG=en_US.UTF-8", "LANG=C", []Cause{Locale}},
		{"comma", "load 1.5", "load 1,5", []Cause{Locale}},
		{"mapping", "7ffd1a2b3000-7ffd1a2d4000 rw-p", "7ffc9f8e7000-7ffc9f908000 rw-p", []Cause{Address}},
		{"pointer", "<Object at 0x7f8a1c2d3e40>", "<Object at 0x7f11aa22bb40>", []Cause{Address}},
		{"words", "a: zlib openssl curl", "a: curl zlib openssl", []Cause{Ordering}},
		{"list", `["b", "a"]`, `["a", "b"]`, []Cause{Ordering}},
		{"pid", "worker 4711 done", "worker 4713 done", []Cause{PID}},
		{
			"several", "built 2026-11-25 04:46:33 by root@left in /build/x", "built 2026-11-25 04:46:35 by root@right in /tmp/x",
			[]Cause{Timestamp, BuildPath, Hostname},
		},
		{"nothing known", "the quick brown fox", "the quick brown dog", nil},
		{"another word", "status: good", "status: poor", nil},
		{"an empty side", "", "something", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := Options{Hosts: []string{"alpha"}}
			for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
				if got := causesOf(textEvidence(o, pair[0], pair[1])); !slices.Equal(got, test.want) {
					t.Errorf("%q and %q: %q, want %q", pair[0], pair[1], got, test.want)
				}
			}
			if got := textEvidence(o, test.a, test.a); len(got) > 0 {
				t.Errorf("a line is said to differ from itself: %v", got)
			}
		})
	}
}

// What words in binary files look like.
func TestBytesEvidence(t *testing.T) {
	word := func(order binary.ByteOrder, n uint64, size int) []byte {
		p := make([]byte, 8)
		order.PutUint64(p, n)
		if size == 4 {
			order.PutUint32(p, uint32(n))
		}
		return p[:size]
	}
	little, big := binary.LittleEndian, binary.BigEndian
	const now = 1795583476
	tests := []struct {
		name string
		a, b []byte
		want []Cause
	}{
		{"seconds", word(little, now, 4), word(little, now+3, 4), []Cause{Timestamp}},
		{"seconds, big-endian", word(big, now, 4), word(big, now+86400, 4), []Cause{Timestamp}},
		{"seconds of 64 bits", word(little, now, 8), word(little, now+70_000, 8), []Cause{Timestamp}},
		{"nanoseconds", word(little, now*1e9, 8), word(little, now*1e9+123456789, 8), []Cause{Timestamp}},
		{"milliseconds, big-endian", word(big, now*1e3, 8), word(big, now*1e3+7000, 8), []Cause{Timestamp}},
		{"stack", word(little, 0x7ffd1a2b3c40, 8), word(little, 0x7ffc9f8e7d40, 8), []Cause{Address}},
		{"program", word(little, 0x55d01a2b3000, 8), word(little, 0x5633f18e7000, 8), []Cause{Address}},
		{"random", []byte("\x01\x9a\xff\x10\x80\x03\x77\xee\x12\x9b\x00\x41"), []byte("\x81\x1a\x0f\xf0\x08\x30\x7a\xe1\x21\xb9\xf0\x14"), []Cause{RandomID}},
		{"text that has moved", []byte("\x00.comment\x00.note.GNU"), []byte(".rodata.\x00comment\x00.no"), nil},
		{"a text and zeros", []byte("eh_frame"), make([]byte, 8), nil},
		{"a small number", word(little, 7, 8), word(little, 9, 8), nil},
		{"letters of a word", []byte("llo\n"), []byte("llO\n"), nil}, // as numbers, they are times of 2027
		{"times of two centuries", word(little, now, 4), word(little, 0xf0000000, 4), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The words are aligned, between others that are the same.
			around := bytes.Repeat([]byte{0xff, 0xfe, 0x01, 0x02, 0x80, 0x81, 0x03, 0x04}, 40)
			file := func(word []byte) Tree { return narOf("x", fileNAR(slices.Concat(around, word, around))) }
			d := onlyDifference(t, file(test.a), file(test.b))
			if !slices.Equal(d.Causes, test.want) {
				t.Errorf("%q, want %q\n%s", d.Causes, test.want, textOf(t, file(test.a), file(test.b)))
			}
		})
	}
}

// The same lines, the same entries, the same bytes in another order; and what only looks like it.
func TestOrdering(t *testing.T) {
	lines := func(names ...string) string { return strings.Join(names, "\n") + "\n" }
	table := func(order ...int) string {
		var out []byte
		for _, n := range order {
			out = append(out, fmt.Sprintf("\x00entry %c%c\x00\x00", 'A'+n, 'Z'-n)...)
		}
		return string(out)
	}
	tests := []struct {
		name, a, b string
		want       []Cause
	}{
		{"lines", lines("b", "c", "a"), lines("c", "a", "b"), []Cause{Ordering}},
		{"sorted in two languages", lines("B", "D", "a", "c"), lines("a", "B", "c", "D"), []Cause{Locale}},
		{"binary", table(1, 5, 2, 9, 7), table(9, 7, 2, 5, 1), []Cause{Ordering}},
		{"one line more", lines("a", "b"), lines("b", "a", "c"), nil},
		{"the same twice", lines("a", "a", "b"), lines("a", "b", "b"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := onlyDifference(t, narOf("a", fileNAR([]byte(test.a))), narOf("b", fileNAR([]byte(test.b))))
			if !slices.Equal(d.Causes, test.want) {
				t.Errorf("%q, want %q", d.Causes, test.want)
			}
		})
	}
}

// Every cause has something to say.
func TestCausesAreExplained(t *testing.T) {
	for _, c := range Causes() {
		if c.Explain() == "" || c.Mend() == "" || strings.HasSuffix(c.Explain(), ".") {
			t.Errorf("%s: %q, %q", c, c.Explain(), c.Mend())
		}
	}
	if Cause("none").Explain() != "" {
		t.Error("what is no cause is explained")
	}
}

func FuzzTextEvidence(f *testing.F) {
	f.Add("Wed Nov 25 04:46:33 UTC 2026 on alpha", "Wed Nov 25 04:46:35 UTC 2026 on beta")
	f.Add("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-a/bin", "5. März 0x7f8a1c2d3e40 umask 0022")
	f.Fuzz(func(t *testing.T, a, b string) {
		found := textEvidence(Options{Hosts: []string{"alpha"}}, a, b)
		if a == b && len(found) > 0 {
			t.Errorf("evidence %v where nothing differs", found)
		}
	})
}
