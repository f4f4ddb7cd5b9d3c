package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Each way in which a path can differ, on disk and in NARs that Nix makes of the same trees.
func TestTrees(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		writeFile(t, filepath.Join(dir, "same"), "same")
		writeFile(t, filepath.Join(dir, "mode"), "same")
		writeFile(t, filepath.Join(dir, "dir/contents"), "text of "+map[string]string{a: "one", b: "two"}[dir])
		writeFile(t, filepath.Join(dir, "dir.contents"), "sorts between the directory and what is in it, by bytes of paths")
	}
	writeFile(t, filepath.Join(a, "gone/deep/file"), "12345")
	writeFile(t, filepath.Join(a, "gone/other"), "678")
	writeFile(t, filepath.Join(a, "type/file"), "12345")
	writeFile(t, filepath.Join(b, "type"), "a file here")
	writeFile(t, filepath.Join(b, "new"), "")
	for dir, target := range map[string]string{a: "left", b: "right"} {
		if err := os.Symlink(target, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(b, "mode"), 0o755); err != nil {
		t.Fatal(err)
	}

	want := []string{
		"dir/contents: contents", "gone: removed", "link: target", "mode: mode", "new: added", "type: type",
	}
	trees := map[string][2]Tree{
		"on disk": {OnDisk(a), OnDisk(b)},
		"NARs":    {narOf("a", dumpOf(t, a)), narOf("b", dumpOf(t, b))},
		"mixed":   {narOf("a", dumpOf(t, a)), OnDisk(b)},
	}
	for name, pair := range trees {
		t.Run(name, func(t *testing.T) {
			r := mustCompare(t, pair[0], pair[1])
			out := r.Outputs[0]
			var got []string
			for _, d := range out.Differences {
				got = append(got, d.Title()+": "+d.kinds())
			}
			if !slices.Equal(got, want) {
				t.Errorf("differences %q, want %q", got, want)
			}
			if r.Same || out.Verdict != Different || out.Files != 14 {
				t.Errorf("same %v, verdict %q, %d files", r.Same, out.Verdict, out.Files)
			}
			if out.Added != 1 || out.Removed != 1 || out.Changed != 4 || out.SizeA != 96 || out.SizeB != 94 {
				t.Errorf("%d added, %d removed, %d changed, %d and %d bytes", out.Added, out.Removed, out.Changed, out.SizeA, out.SizeB)
			}
			if gone := out.Differences[1].A; gone.Below != 3 || gone.Size != 8 {
				t.Errorf("%d names with %d bytes are gone, want 3 with 8", gone.Below, gone.Size)
			}
			var differ *DifferenceError
			if err := r.Err(); !errors.As(err, &differ) || differ.Differing != 1 {
				t.Errorf("error %v", err)
			}
			if r := mustCompare(t, pair[0], pair[0]); !r.Same || r.Err() != nil || r.Headline() != "same: 1 output, 13 files" {
				t.Errorf("a tree differs from itself: %s", r.Headline())
			}
		})
	}
}

// Every byte that differs is found, in any block.
func TestEveryOffset(t *testing.T) {
	const block = 512 << 10
	const size = 2*block + 77
	base := bytes.Repeat([]byte("abcdefgh\x00"), size/9+1)[:size]
	left := narOf("a", fileNAR(base))
	for _, offset := range []int{0, 1, 7, 8, 4095, 4096, block - 113, block - 112, block - 1, block, size - 1} {
		changed := bytes.Clone(base)
		changed[offset] ^= 0x80
		changed[size-1] ^= 0x40
		d := onlyDifference(t, left, narOf("b", fileNAR(changed)))
		differing := int64(2)
		if offset == size-1 {
			differing = 1
		}
		if d.Change.Offset != int64(offset) || d.Change.Differing != differing {
			t.Errorf("%d bytes from %d, want %d from %d", d.Change.Differing, d.Change.Offset, differing, offset)
		}
		r := d.Change.Region
		from := int(r.Start)
		to := min(from+maxRegion, size)
		if from > offset || from < offset-2*hexRow || !bytes.Equal(r.A, base[from:to]) || !bytes.Equal(r.B, changed[from:to]) {
			t.Errorf("at %d: the region from %d with %d and %d bytes is wrong", offset, r.Start, len(r.A), len(r.B))
		}
	}
}

// If one file is the beginning of the other, they differ where it ends.
func TestOneIsLonger(t *testing.T) {
	short := bytes.Repeat([]byte("x\x00"), 512<<10)
	long := append(bytes.Clone(short), "and more"...)
	d := onlyDifference(t, narOf("a", fileNAR(short)), narOf("b", fileNAR(long)))
	r := d.Change.Region
	if d.Change.Offset != int64(len(short)) || d.Change.Differing != 0 || !strings.HasSuffix(string(r.B), "and more") {
		t.Errorf("%+v", d.Change)
	}
}

// A file that is too large to keep is compared as bytes.
func TestLargeFile(t *testing.T) {
	data := append([]byte("\x1f\x8b\x08"), make([]byte, maxKept)...)
	changed := bytes.Clone(data)
	changed[maxKept] = 1
	d := onlyDifference(t, narOf("a", fileNAR(data)), narOf("b", fileNAR(changed)))
	if d.Change.Offset != maxKept || d.Change.Differing != 1 || !strings.Contains(d.Change.Note, "too large to look into") {
		t.Errorf("%+v", d.Change)
	}
}

// A report has a bounded size, and counts the rest.
func TestManyDifferences(t *testing.T) {
	a, b := map[string]string{}, map[string]string{}
	for i := range 300 {
		name := string(rune('a'+i/26)) + string(rune('a'+i%26))
		a[name], b[name] = "left\x00", "right\x00"
	}
	left, right := files(t, a), files(t, b)
	out := mustCompare(t, left, right).Outputs[0]
	if len(out.Differences) != 300 || out.Differences[maxDetailed].Change.Region != nil || out.Differences[0].Change.Region == nil {
		t.Errorf("%d differences", len(out.Differences))
	}
	words := []string{narMagic, "(", "type", "directory"}
	for i := range maxDifferences + 290 {
		words = append(words, "entry", "(", "name", fmt.Sprintf("%08d", i), "node", "(", "type", "symlink", "target", "TARGET", ")", ")")
	}
	nar := narWords(append(words, ")")...)
	other := bytes.ReplaceAll(nar, []byte("TARGET"), []byte("target"))
	if out := mustCompare(t, narOf("a", nar), narOf("b", other)).Outputs[0]; len(out.Differences) != maxDifferences || out.Unlisted != 290 {
		t.Errorf("%d listed, %d not", len(out.Differences), out.Unlisted)
	}
}

// A cancelled comparison ends with the cause of its context, and leaves no goroutine.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cancelled by the test")
	cancel(cause)
	tree := files(t, map[string]string{"a": "b"})
	if _, err := Trees(ctx, tree, tree, Options{}); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// Streams that are not a NAR, or not a complete one.
func TestBadNARs(t *testing.T) {
	good := dumpOf(t, mustTree(t))
	tests := []struct {
		name string
		nar  []byte
		want string
	}{
		{"nothing", nil, "not a NAR"},
		{"text", []byte("#!/bin/sh\nexit 0\n"), "not a NAR"},
		{"cut off in a word", good[:20], "unexpected EOF"},
		{"cut off in contents", good[:len(good)/2], "unexpected EOF"},
		{"cut off at the end", good[:len(good)-1], "unexpected EOF"},
		{"garbage behind", append(bytes.Clone(good), 0), "more bytes follow the end of the archive"},
		{"a second one behind", append(bytes.Clone(good), good...), "more bytes follow the end of the archive"},
		{"padding", replaceOnce(t, good, "nix-archive-1\x00", "nix-archive-1\x01"), "padding that is not zero"},
		{"a long name", narWords(narMagic, "(", "type", "directory", "entry", "(", "name", strings.Repeat("n", 256)), "256 bytes; the limit is 255"},
		{"a path for a name", narWords(narMagic, "(", "type", "directory", "entry", "(", "name", "../x"), "is not a valid file name"},
		{"no order", narWords(narMagic, "(", "type", "directory",
			"entry", "(", "name", "b", "node", "(", "type", "symlink", "target", "t", ")", ")",
			"entry", "(", "name", "a", "node", "(", "type", "symlink", "target", "t", ")", ")", ")"), "out of order"},
		{"another type", narWords(narMagic, "(", "type", "socket"), `"socket" is not a type of file`},
		{"a huge file", append(narWords(narMagic, "(", "type", "regular", "contents"), bytes.Repeat([]byte{0xff}, 8)...), "a file of 18446744073709551615 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, pair := range [][2]Tree{
				{narOf("left", good), narOf("bad", test.nar)},
				{narOf("bad", test.nar), narOf("right", good)},
			} {
				r, err := Trees(t.Context(), pair[0], pair[1], Options{})
				if r != nil || err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "bad") {
					t.Errorf("error %v, want one of bad with %q", err, test.want)
				}
			}
		})
	}
}

// An error of one side is reported although the other side continues.
func TestReadErrors(t *testing.T) {
	good := dumpOf(t, mustTree(t))
	broken := errors.New("disk on fire")
	bad := NAR("bad", func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(good[:400]), errReader{broken})), nil
	})
	if _, err := Trees(t.Context(), bad, narOf("good", good), Options{}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	for _, tree := range []Tree{OnDisk("/nowhere/at/all"), OnDisk("/dev/null"), NARFile(regular.AnyFile("/nowhere.nar"))} {
		if _, err := Trees(t.Context(), tree, narOf("good", good), Options{}); err == nil || !strings.Contains(err.Error(), tree.Name) {
			t.Errorf("%s: error %v", tree.Name, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// The walk does not panic on any input, and accepts only NARs that Nix accepts.
func FuzzTrees(f *testing.F) {
	seed := mustTree(f)
	f.Add(dumpOf(f, seed), dumpOf(f, filepath.Join(seed, "dir")))
	f.Add(fileNAR([]byte("!<arch>\nm/              0           0     0     100644  2         `\nab")), fileNAR([]byte("PK\x03\x04")))
	f.Add(fileNAR([]byte("\x7fELF\x02\x01\x01")), fileNAR([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00")))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		// The data are compared as contents, whose formats are parsed too, and as NARs.
		for _, pair := range [][2][]byte{{fileNAR(a), fileNAR(b)}, {a, b}} {
			r, err := Trees(t.Context(), narOf("a", pair[0]), narOf("b", pair[1]), rebuilt)
			if err != nil {
				continue
			}
			if bytes.Equal(pair[0], pair[1]) != r.Same {
				t.Errorf("same is %v", r.Same)
			}
			_ = r.String()
			if err := r.WriteHTML(io.Discard); err != nil {
				t.Error(err)
			}
		}
	})
}
