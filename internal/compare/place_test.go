package compare

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inTwo runs a script in two directories, with 1 and 2 as its argument, and returns the file "out" of each.
// Without one of the programs that it needs, the test is skipped.
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

// Archives that the machine's own programs make: which member holds the first byte that differs, and why it does.
func TestArchives(t *testing.T) {
	const (
		twoFiles = "mkdir in; seq 400 > in/first; cp in/first in/second; touch -d 2026-01-01T00:00:00Z in/*; cd in; "
		late     = "touch -d 2026-01-0${1}T00:00:02Z second; "
		other    = "echo text $1 > second; touch -d 2026-01-01T00:00:00Z second; "
	)
	tests := []struct {
		name, script string
		programs     []string
		place        string
		want         []Cause
	}{
		{"ar, time", twoFiles + late + "ar rcU ../out first second", []string{"ar"}, "ar header of second, mtime", []Cause{ArchiveTime}},
		{"ar, contents", twoFiles + other + "ar rcD ../out first second", []string{"ar"}, "ar member second", []Cause{PID}},
		{
			"ar, size", twoFiles + "echo in /build/a > second; [ $1 = 1 ] || echo in /tmp/nix-build-ab.drv-0/a > second; touch -d 2026-01-01T00:00:00Z second; ar rcD ../out first second",
			[]string{"ar"},
			"ar header of second",
			[]Cause{BuildPath},
		},
		{"tar, time", twoFiles + late + "tar cf ../out first second", []string{"tar"}, "tar header of second, mtime", []Cause{ArchiveTime}},
		{"tar, owner", twoFiles + "tar --owner=1 --group=1 --mtime=@1 -cf ../out first; tar --owner=$1 --group=$1 --mtime=@1 -rf ../out second", []string{"tar"}, "tar header of second, uid", []Cause{Owner}},
		{"tar, contents", twoFiles + other + "tar cf ../out first second", []string{"tar"}, "tar member second", []Cause{PID}},
		{"tar, order", twoFiles + "for i in 1 2 3; do echo text number $i, of some length > f$i; touch -d @1 f$i; done; [ $1 = 1 ] && set f1 f2 f3 || set f3 f1 f2; tar cf ../out $*", []string{"tar"}, "tar header of f1", []Cause{Ordering}},
		{"zip, time", twoFiles + late + "TZ=UTC zip -qX ../out.zip first second; mv ../out.zip ../out", []string{"zip"}, "zip header of second", []Cause{ArchiveTime}},
		{"gzip, time", twoFiles + late + "gzip -c second > ../out", []string{"gzip"}, "gzip header, mtime", []Cause{ArchiveTime}},
		{"gzip, contents", twoFiles + "echo on 2026-01-0$1 > second; gzip -nc second > ../out", []string{"gzip"}, "", []Cause{Timestamp}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, b := inTwo(t, test.script, test.programs...)
			d := onlyDifference(t, a, b)
			if d.Change.Place != test.place {
				t.Errorf("first in %q, want %q", d.Change.Place, test.place)
			}
			if !slices.Equal(d.Causes, test.want) {
				t.Errorf("causes %q, want %q\n%s", d.Causes, test.want, textOf(t, a, b))
			}
		})
	}
}

// A compressed text is shown as the text that it is.
func TestUnpackedDiff(t *testing.T) {
	a, b := inTwo(t, "echo page $1 | gzip -nc > out", "gzip")
	d := onlyDifference(t, a, b)
	if !d.Change.Unpacked || d.Change.Diff != "@@ -1,1 +1,1 @@\n-page 1\n+page 2" {
		t.Errorf("%+v", d.Change)
	}
}

// Python has the time of the source in what it compiles it to.
func TestBytecode(t *testing.T) {
	header := func(second byte) string {
		return "\xcb\x0d\r\n\x00\x00\x00\x00" + string([]byte{second, 0x6e, 0x06, 0x6b}) + "\x10\x00\x00\x00"
	}
	a := files(t, map[string]string{"m.pyc": header(1) + "code"})
	b := files(t, map[string]string{"m.pyc": header(2) + "code"})
	d := onlyDifference(t, a, b)
	if d.Causes[0] != ArchiveTime || !strings.Contains(d.Change.Place, "Python bytecode header") {
		t.Errorf("%q in %q", d.Causes, d.Change.Place)
	}
}

// GNU ar keeps the names that are longer than 15 bytes in a member of their own.
func TestLongNamesOfMembers(t *testing.T) {
	member := func(name, contents string) string {
		return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", name, 0, 0, 0, "644", len(contents), contents+strings.Repeat("\n", len(contents)%2))
	}
	const names = "a_very_long_member_name_indeed.o/\nanother_name_that_is_long.o/\n"
	archive := func(table, name, contents string) Tree {
		return narOf("x", fileNAR([]byte(arMagic+member("//", table)+member(name, contents))))
	}
	for _, tt := range []struct{ table, name, want string }{
		{names, "/0", "ar member a_very_long_member_name_indeed.o"},
		{names, "/34", "ar member another_name_that_is_long.o"},
		{names, "/999", "ar member /999"},
		{"a name without an end", "/0", "ar member /0"},
		{names, "short.o/", "ar member short.o"},
	} {
		d := onlyDifference(t, archive(tt.table, tt.name, "hello\x00"), archive(tt.table, tt.name, "hellO\x00"))
		if d.Change.Place != tt.want {
			t.Errorf("%s: place %q, want %q", tt.name, d.Change.Place, tt.want)
		}
	}
}

// Members are found in archives that are larger than what is kept of them.
func TestLargeArchive(t *testing.T) {
	member := func(name string, contents []byte) []byte {
		header := name + strings.Repeat(" ", 16-len(name)) + "0           0     0     644     "
		size := "3000000   "
		return append([]byte(header+size+"`\n"), contents...)
	}
	big := bytes.Repeat([]byte("\x00\x01\x02"), 1_000_000)
	changed := bytes.Clone(big)
	changed[2_000_000] = 'x'
	archive := func(second []byte) Tree {
		return narOf("x", fileNAR(slices.Concat([]byte(arMagic), member("first/", big), member("second/", second), member("third/", big))))
	}
	d := onlyDifference(t, archive(big), archive(changed))
	if d.Change.Place != "ar member second" {
		t.Errorf("%+v", d.Change.Place)
	}
}
