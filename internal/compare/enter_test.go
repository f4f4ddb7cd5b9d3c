package compare

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/scopecreep-zip/open-sesame-ci/internal/unpack"
)

// inTwo runs a script in two directories, with 1 and 2 as its argument, and returns the file "out" of each.
// It skips the test if one of the programs is missing.
func inTwo(t *testing.T, script string, programs ...string) (a, b Tree) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	var trees []Tree
	for _, which := range []string{"1", "2"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", script, "sh", which)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		trees = append(trees, OnDisk(filepath.Join(cmd.Dir, "out")))
	}
	return trees[0], trees[1]
}

// membersOf returns the members that differ: kinds, path, and the fields that differ.
func membersOf(d Difference) []string {
	var all []string
	for _, m := range d.Change.Members {
		line := m.kinds() + " " + m.Path
		for _, f := range m.Fields {
			line += ", " + f.Name
		}
		all = append(all, line)
	}
	return all
}

// Archives and compressed files, written by programs of the machine, are entered at all depths.
func TestFormats(t *testing.T) {
	const (
		twoFiles = "mkdir in; seq 400 > in/first; cp in/first in/second; touch -d 2026-01-01T00:00:00Z in/*; cd in; "
		late     = "touch -d 2026-01-0${1}T00:00:02Z second; "
		other    = "echo text $1 > second; touch -d 2026-01-01T00:00:00Z second; "
	)
	tests := []struct {
		name, script string
		programs     string
		members      []string
		want         []Cause
	}{
		{"ar, time", twoFiles + late + "ar rcU ../out first second", "ar", []string{"header ar member second, mtime"}, []Cause{ArchiveTime}},
		{"ar, contents", twoFiles + other + "ar rcD ../out first second", "ar", []string{"contents ar member second"}, nil},
		{"ar, long name", twoFiles + other + "mv second a_very_long_member_name_indeed.o; ar rcD ../out first a_very_long_member_name_indeed.o", "ar", []string{"contents ar member a_very_long_member_name_indeed.o"}, nil},
		{"tar, time", twoFiles + late + "tar cf ../out first second", "tar", []string{"header tar member second, mtime"}, []Cause{ArchiveTime}},
		{"tar, owner", twoFiles + "tar --numeric-owner --owner=$1 --group=$1 --mtime=@1 -cf ../out first", "tar", []string{"header tar member first, uid, gid"}, []Cause{Owner}},
		{"tar, mode", twoFiles + "chmod 66$1 first; tar --mtime=@1 -cf ../out first", "tar", []string{"header tar member first, mode"}, []Cause{Permissions}},
		{"tar, one more", twoFiles + "[ $1 = 1 ] && set first || set first second; tar cf ../out $*", "tar", []string{"added tar member second"}, nil},
		{"tar, order", twoFiles + "[ $1 = 1 ] && set first second || set second first; tar cf ../out $*", "tar", []string{"header tar, order of members"}, []Cause{Ordering}},
		{"zip, time", twoFiles + late + "zip -qX ../out.zip first second; mv ../out.zip ../out", "zip", []string{"header zip member second, mtime"}, []Cause{ArchiveTime}},
		{"gzip, time", twoFiles + late + "gzip -c second > ../out", "gzip", []string{"header gzip contents, mtime"}, []Cause{ArchiveTime}},
		{"gzip, contents", twoFiles + other + "gzip -nc second > ../out", "gzip", []string{"contents gzip contents"}, nil},
		{"xz", twoFiles + other + "xz -c second > ../out", "xz", []string{"contents xz contents"}, nil},
		{"zstd", twoFiles + other + "zstd -qc second > ../out", "zstd", []string{"contents zstd contents"}, nil},
		{"bzip2", twoFiles + other + "bzip2 -c second > ../out", "bzip2", []string{"contents bzip2 contents"}, nil},
		{
			"Debian package", twoFiles + other + "tar cf - first second | xz -c > data.tar.xz; echo 2.0 > debian-binary; ar rcD ../out debian-binary data.tar.xz",
			"ar tar xz",
			[]string{"contents ar member data.tar.xz, xz contents, tar member second"},
			nil,
		},
		{"ELF", "echo \"const char text[] = \\\"$1\\\"; int main(void) { return 0; }\" > a.c; gcc -Wl,--build-id=none -o out a.c", "gcc", []string{"contents section .rodata"}, nil},
		{"ELF in ar", "echo \"int number = $1;\" > a.c; gcc -c a.c; ar rcD out a.o", "gcc ar", []string{"contents ar member a.o, section .data"}, nil},
		{"other packing only", twoFiles + "gzip -nc -$((8 * $1 - 7)) first > ../out", "gzip", nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, b := inTwo(t, test.script, strings.Fields(test.programs)...)
			d := onlyDifference(t, a, b)
			if got := membersOf(d); !slices.Equal(got, test.members) {
				t.Errorf("members %q, want %q", got, test.members)
			}
			if !slices.Equal(d.Causes, test.want) {
				t.Errorf("causes %q, want %q\n%s", d.Causes, test.want, textOf(t, a, b))
			}
			if test.members == nil && (d.Change.Region == nil || !strings.Contains(d.Change.Note, "packing differs")) {
				t.Errorf("%+v", d.Change)
			}
		})
	}
}

// Python writes the time of the source into bytecode.
func TestBytecode(t *testing.T) {
	header := func(second byte) string {
		return "\xcb\x0d\r\n\x00\x00\x00\x00" + string([]byte{second, 0x6e, 0x06, 0x6b}) + "\x10\x00\x00\x00"
	}
	a := files(t, map[string]string{"m.pyc": header(1) + "code"})
	b := files(t, map[string]string{"m.pyc": header(2) + "code"})
	d := onlyDifference(t, a, b)
	if got := membersOf(d); !slices.Equal(got, []string{"header Python bytecode, mtime of the source"}) || !slices.Equal(d.Causes, []Cause{ArchiveTime}) {
		t.Errorf("%q, %q", got, d.Causes)
	}
}

// A file that has the beginning of an archive, but is not one, is compared as bytes.
func TestBrokenArchives(t *testing.T) {
	whole := tarOf(t, tarFile{"a", strings.Repeat("text ", 1000)})
	for name, data := range map[string]string{
		"ELF": "\x7fELF\x02\x01\x01", "ar": "!<arch>\nhello", "tar": string(whole[:2000]), "zip": "PK\x03\x04 and no more",
		"gzip": string(gzipOf(t, "text", 1)[:15]), "xz": "\xfd7zXZ\x00no", "zstd": "\x28\xb5\x2f\xfdno", "bzip2": "BZh9no",
	} {
		d := onlyDifference(t, narOf("a", fileNAR([]byte(data+"\x001"))), narOf("b", fileNAR([]byte(data+"\x002"))))
		if len(d.Change.Members) > 0 || d.Change.Region == nil || d.Change.Differing != 1 {
			t.Errorf("%s: %+v", name, d.Change)
		}
	}
}

// Small files that unpack to large ones, to many members or to themselves are compared as bytes, in bounded memory.
func TestBombs(t *testing.T) {
	zeros := func() io.Reader { return io.LimitReader(zeroReader{}, unpack.MaxBytes+1) }
	large := xzOf(t, zeros())
	bombs := map[string]func(w io.Writer, salt string) error{
		"gzip": func(w io.Writer, salt string) error {
			z := gzip.NewWriter(w)
			_, err := io.Copy(z, io.MultiReader(strings.NewReader(salt), zeros()))
			return errors.Join(err, z.Close())
		},
		"zstd": func(w io.Writer, salt string) error {
			z, err := zstd.NewWriter(w)
			if err != nil {
				return err
			}
			_, err = io.Copy(z, io.MultiReader(strings.NewReader(salt), zeros()))
			return errors.Join(err, z.Close())
		},
		"xz": func(w io.Writer, salt string) error { // two streams in one file: the large one is compressed once
			_, err := w.Write(append(slices.Clip(large), xzOf(t, strings.NewReader(salt))...))
			return err
		},
		"zip": func(w io.Writer, salt string) error {
			z := zip.NewWriter(w)
			f, err := z.Create("a")
			if err == nil {
				_, err = io.Copy(f, io.MultiReader(strings.NewReader(salt), zeros()))
			}
			return errors.Join(err, z.Close())
		},
		"many members": func(w io.Writer, salt string) error {
			_, err := fmt.Fprint(w, "!<arch>\n"+strings.Repeat(fmt.Sprintf("%-48s%-10d`\n", "m"+salt+"/", 0), unpack.MaxMembers+1))
			return err
		},
	}
	for name, write := range bombs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a, b bytes.Buffer
			if err := errors.Join(write(&a, "1"), write(&b, "2")); err != nil {
				t.Fatal(err)
			}
			d := onlyDifference(t, narOf("a", fileNAR(a.Bytes())), narOf("b", fileNAR(b.Bytes())))
			if len(d.Change.Members) > 0 || !strings.Contains(d.Change.Note, "too large to look into") {
				t.Errorf("%d members, note %q", len(d.Change.Members), d.Change.Note)
			}
		})
	}
}

// Nesting is bounded.
func TestNesting(t *testing.T) {
	a, b := []byte("one"), []byte("two")
	for range 2 * maxNesting {
		a, b = gzipOf(t, string(a), 0), gzipOf(t, string(b), 0)
	}
	d := onlyDifference(t, narOf("a", fileNAR(a)), narOf("b", fileNAR(b)))
	if got := membersOf(d); len(got) != 1 || strings.Count(got[0], "gzip contents") != maxNesting {
		t.Errorf("%q", got)
	}
}

// A report lists a bounded number of members, and counts the others.
func TestManyMembers(t *testing.T) {
	archive := func(text string) Tree {
		var all []tarFile
		for i := range 3 * maxListed {
			all = append(all, tarFile{fmt.Sprint(i), text})
		}
		return narOf("x", fileNAR(tarOf(t, all...)))
	}
	d := onlyDifference(t, archive("a"), archive("b"))
	if len(d.Change.Members) != maxListed || d.Change.UnlistedMembers != 2*maxListed {
		t.Errorf("%d members, %d not listed", len(d.Change.Members), d.Change.UnlistedMembers)
	}
}

type tarFile struct{ name, text string }

func tarOf(t testing.TB, all ...tarFile) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range all {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.text)), Mode: 0o644, Format: tar.FormatGNU}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipOf(t testing.TB, text string, seconds int64) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.ModTime = time.Unix(seconds, 0)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func xzOf(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := xz.WriterConfig{DictCap: 1 << 16}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(z, r); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
