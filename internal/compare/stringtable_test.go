package compare

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A linker puts strings in the order of their hashes, and may compress them; the path among them is found all the same.
func TestStringTables(t *testing.T) {
	const source = "mkdir -p dir$1 && cd dir$1 && printf 'int main(void) { return 0; }' > main.c && "
	for name, compile := range map[string]string{
		"plain":      "gcc -g -o ../out main.c",
		"compressed": "gcc -g -gz=zlib -o ../out main.c",
		"old DWARF":  "gcc -gdwarf-4 -o ../out main.c",
		"object":     "gcc -g -c -o ../out main.c",
		"section":    `echo "asm(\".section .comment; .asciz \\\"$PWD/main.c\\\"\");" >> main.c; gcc -s -o ../out main.c`,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := inTwo(t, source+compile, "gcc")
			d := onlyDifference(t, a, b)
			if len(d.Causes) == 0 || d.Causes[0] != BuildPath {
				t.Errorf("causes %q\n%s", d.Causes, textOf(t, a, b))
			}
		})
	}
}

// Numbers that differ leave room for text behind them, as far as that may be.
func TestTextBehindManyNumbers(t *testing.T) {
	file := func(digit byte, path string) []byte {
		var out []byte
		for range 2 * (maxRegions + maxTextRegions) {
			out = append(out, 2, digit, 3)
			out = append(out, bytes.Repeat([]byte{0}, 2*regionAfter)...)
		}
		out = append(out, bytes.Repeat([]byte{0xfe}, 3*sampleSize)...) // so that this is in no sample
		out = append(out, path...)
		return append(out, bytes.Repeat([]byte{0xfe}, 3*sampleSize)...)
	}
	a := narOf("a", fileNAR(file(1, "\x00/tmp/nix-build-a.drv-0/main.c\x00")))
	b := narOf("b", fileNAR(file(2, "\x00/tmp/nix-build-a.drv-1/main.c\x00")))
	d := onlyDifference(t, a, b)
	if !slices.Equal(d.Causes, []Cause{BuildPath}) {
		t.Errorf("causes %q", d.Causes)
	}
	if len(d.Change.Regions) != maxRegions+1 {
		t.Errorf("%d regions, want %d and the one of text", len(d.Change.Regions), maxRegions)
	}
}

// As many lines as there may be, however many strings differ.
func TestPairUp(t *testing.T) {
	var a, b []string
	for i := range 3 * maxOddStrings {
		a, b = append(a, fmt.Sprintf("/build/one/file%04d", i)), append(b, fmt.Sprintf("/build/two/file%04d", i))
	}
	slices.Reverse(b)
	odd := missingFrom(a, b)
	if len(odd) != maxOddStrings {
		t.Fatalf("%d strings, want %d", len(odd), maxOddStrings)
	}
	pairs := pairUp(odd, missingFrom(b, a))
	if len(pairs) != maxOddStrings {
		t.Errorf("%d pairs, want %d", len(pairs), maxOddStrings)
	}
	for _, p := range pairs {
		if want := strings.Replace(p[0], "one", "two", 1); p[1] != want {
			t.Errorf("%q goes with %q", p[0], p[1])
		}
	}
	if got := missingFrom([]string{"abc", "same", "long enough", "long enough"}, []string{"same"}); !slices.Equal(got, []string{"long enough"}) {
		t.Errorf("%q", got)
	}
	if pairs := pairUp([]string{"no such thing"}, []string{"another matter"}); len(pairs) > 0 {
		t.Errorf("%q have nothing in common", pairs)
	}
}
