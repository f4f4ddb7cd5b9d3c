package compare

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
)

// testRun is a run of one hour.
var testRun = Window{time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC), time.Date(2026, 11, 25, 5, 0, 0, 0, time.UTC)}

var rebuilt = Options{SameDerivation: true, Run: testRun}

// Texts that have a cause, and texts that only look like it.
func TestTextEvidence(t *testing.T) {
	tests := []struct {
		name, a, b string
		want       []Cause
	}{
		{"date", "Wed Nov 25 04:46:33 UTC 2026", "Wed Nov 25 04:46:35 UTC 2026", []Cause{Timestamp}},
		{"date, padded", "Mon Nov  2 04:46:33 UTC 2026", "Wed Nov 25 04:46:35 UTC 2026", []Cause{Timestamp}},
		{"RFC 3339", "built: 2026-11-25T04:46:33Z", "built: 2026-11-24T05:46:33+01:00", []Cause{Timestamp}},
		{"no zone", "at 2026-11-25 04:46:33", "at 2026-11-25 04:46:34", []Cause{Timestamp}},
		{"__DATE__", `"Nov 24 2026"`, `"Nov 25 2026"`, []Cause{Timestamp}},
		{"__DATE__ and __TIME__", "Nov 25 2026 04:46:33", "Nov 25 2026 04:46:34", []Cause{Timestamp}},
		{"mail", "Wed, 25 Nov 2026 04:46:33 +0000", "Wed, 25 Nov 2026 04:46:34 +0000", []Cause{Timestamp}},
		{"digits", "build-20261125044633", "build-20261125044635", []Cause{Timestamp}},
		{"seconds", "t=1795581993", "t=1795581995", []Cause{Timestamp}},
		{"nanoseconds", "1795581993123456789", "1795581995987654321", []Cause{Timestamp}},
		{"an earlier build", "built 2024-02-29", "built 2026-11-25", []Cause{Timestamp}},
		{"both before the run", "released 2024-02-29", "released 2024-03-01", nil},
		{"after the run", "valid until 2027-11-25", "valid until 2026-11-25", nil},
		{"a number of ten digits", "size 1264045993", "size 1274045993", nil},
		{"a time, and another word", "gcc 12, 2026-11-25", "gcc 13, 2026-11-24", nil},
		{"two build directories", "-I/tmp/nix-build-x.drv-0/i", "-I/tmp/nix-build-x.drv-1/i", []Cause{BuildPath}},
		{"sandbox and none", "/build/source/a.c", "/tmp/nix-build-a.drv-0/source/a.c", []Cause{BuildPath}},
		{"Nix 2.30", "/nix/var/nix/builds/nix-1-2/build/a", "/nix/var/nix/builds/nix-3-4/build/a", []Cause{BuildPath}},
		{"another file", "/build/source/a.c", "/build/source/b.c", nil},
		{"directories of others", "/home/alice/main.rs", "/home/bob/main.rs", nil},
		{"random UUID", "id 6fa459ea-ee8a-4ca4-894e-db77e160355e", "id 16fd2706-8baf-433b-82d3-8c7fada847da", []Cause{RandomID}},
		{"UUID of a name", "id 6fa459ea-ee8a-3ca4-894e-db77e160355e", "id 16fd2706-8baf-333b-82d3-8c7fada847da", nil},
		{"hexadecimal", "salt=9f86d081884c7d65", "salt=2c26b46b68ffc68f", nil},
		{"ELF symbols", "_ZN4core3fmt9Formatter12pad_integral17h0a1b2c3d4e5f6789E", "_ZN4core3fmt9Formatter12pad_integral17h9876f5e4d3c2b1a0E", nil},
		{"pointer", "<Object at 0x7f8a1c2d3e40>", "<Object at 0x7f11aa22be40>", []Cause{Address}},
		{"a constant", "mask 0x7f8a1c2d3e40", "mask 0x7f8a1c2d3e41", nil},
		{"small numbers", "worker 4711 done", "worker 4713 done", nil},
		{"PDF", "<</Length 1185>>stream", "<</Length 1187>>stream", nil},
		{"several", "built 2026-11-25 04:46:33 in /build/x", "built 2026-11-25 04:46:35 in /tmp/nix-build-x.drv-0/x", []Cause{Timestamp, BuildPath}},
		{"an empty side", "", "something", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, isText := range []bool{true, false} {
				for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
					p := pairOf{"x", []byte("\x01" + pair[0] + "\x00"), []byte("\x01" + pair[1] + "\x00")}
					if isText {
						p = pairOf{"x", []byte("a\n" + pair[0] + "\nb\n"), []byte("a\n" + pair[1] + "\nb\n")}
					}
					if got := causesOf(evidenceOf(rebuilt, "", p, isText)); !slices.Equal(got, test.want) {
						t.Errorf("%q and %q: %q, want %q", pair[0], pair[1], got, test.want)
					}
				}
			}
		})
	}
}

// Numbers in a binary file are not times: code and relocations can have the same numbers.
func TestNumbersOfBinaryFiles(t *testing.T) {
	now := uint32(testRun.From.Unix())
	around := strings.Repeat("\xff\xfe\x01\x02", 40)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		a, b := order.AppendUint32([]byte(around), now+100), order.AppendUint32([]byte(around), now+103)
		if got := evidenceOf(rebuilt, "", pairOf{"x", a, b}, false); len(got) > 0 {
			t.Errorf("%v", got)
		}
	}
}

// Linkers sort strings by their hashes: a path that differs moves the others.
func TestStringsThatMove(t *testing.T) {
	p := pairOf{
		"x", []byte("\x00main.c\x00/tmp/nix-build-a.drv-0\x00GNU C17 12.2.0\x00long int\x00"),
		[]byte("\x00long int\x00GNU C17 12.2.0\x00main.c\x00/tmp/nix-build-a.drv-1\x00"),
	}
	if got := causesOf(evidenceOf(rebuilt, "", p, false)); !slices.Equal(got, []Cause{BuildPath}) {
		t.Errorf("%q", got)
	}
}

func TestOrdering(t *testing.T) {
	lines := func(names ...string) []byte { return []byte(strings.Join(names, "\n") + "\n") }
	tests := []struct {
		name string
		a, b []byte
		want []Cause
	}{
		{"lines", lines("b", "c", "a"), lines("c", "a", "b"), []Cause{Ordering}},
		{"one line more", lines("a", "b"), lines("b", "a", "c"), nil},
		{"the same twice", lines("a", "a", "b"), lines("a", "b", "b"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := onlyDifference(t, narOf("a", fileNAR(test.a)), narOf("b", fileNAR(test.b)))
			if !slices.Equal(d.Causes, test.want) {
				t.Errorf("%q, want %q", d.Causes, test.want)
			}
		})
	}
}

// Two releases differ because their derivations do: no cause is named for any bytes.
func TestNoCauseAcrossDerivations(t *testing.T) {
	for _, text := range [][2]string{
		{"built 2026-11-25 04:10:00\n", "built 2026-11-25 04:20:00\n"},
		{"b\na\n", "a\nb\n"},
		{"id 6fa459ea-ee8a-4ca4-894e-db77e160355e\n", "id 16fd2706-8baf-433b-82d3-8c7fada847da\n"},
		{string(gzipOf(t, "text\n", 1)), string(gzipOf(t, "text\n", 2))},
	} {
		r, err := Trees(t.Context(), narOf("a", fileNAR([]byte(text[0]))), narOf("b", fileNAR([]byte(text[1]))), Options{Run: testRun})
		if err != nil {
			t.Fatal(err)
		}
		d := r.Outputs[0].Differences[0]
		if len(d.Causes) > 0 || len(d.Change.Evidence) > 0 {
			t.Errorf("%q: %q, %v", text, d.Causes, d.Change.Evidence)
		}
	}
}

func TestCausesAreExplained(t *testing.T) {
	for _, c := range causes {
		if c.explain == "" || c.fix == "" || strings.HasSuffix(c.explain, ".") {
			t.Errorf("%s: %q, %q", c.cause, c.explain, c.fix)
		}
	}
}

func FuzzTextEvidence(f *testing.F) {
	f.Add("Wed Nov 25 04:46:33 UTC 2026 in /build", "Wed Nov 25 04:46:35 UTC 2026 in /tmp/nix-build-a.drv-0")
	f.Add("1795581993 6fa459ea-ee8a-4ca4-894e-db77e160355e", "5. März 0x7f8a1c2d3e40 umask 0022")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, isText := range []bool{true, false} {
			found := evidenceOf(rebuilt, "", pairOf{"x", []byte(a), []byte(b)}, isText)
			if a == b && len(found) > 0 {
				t.Errorf("evidence %v where nothing differs", found)
			}
		}
	})
}
