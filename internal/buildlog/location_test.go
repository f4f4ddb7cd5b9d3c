package buildlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func TestSourceLocation(t *testing.T) {
	s := run.Snapshot{Dir: t.TempDir()}
	for _, file := range []string{"core-ipc/src/lib.rs", "src/main.c", "a b.rs"} {
		name := filepath.Join(s.Dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("x\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	sub := s
	sub.Subdir = "core-ipc"
	for name, test := range map[string]struct {
		s    run.Snapshot
		tail string
		want *run.Line
	}{
		"rustc": {s, "warning: unused\n --> src/main.c:3:1\nerror[E0308]: mismatched types\n  --> core-ipc/src/lib.rs:12:5\n   |", &run.Line{File: "core-ipc/src/lib.rs", Line: 12}},
		"a Rust test": {
			s, "running 2 tests\nthread 'x' panicked at core-ipc/src/lib.rs:88:9:\nassertion `left == right` failed",
			&run.Line{File: "core-ipc/src/lib.rs", Line: 88},
		},
		"a C compiler":         {s, "src/main.c: In function 'f':\nsrc/main.c:7:2: error: 'y' undeclared", &run.Line{File: "src/main.c", Line: 7}},
		"where it was built":   {s, "/build/source/src/main.c:7:2: error: x", &run.Line{File: "src/main.c", Line: 7}},
		"outside of a sandbox": {s, "/tmp/nix-build-a-1.drv-0/source/src/main.c:7: error: x", &run.Line{File: "src/main.c", Line: 7}},
		"a flake within":       {sub, "error: at src/lib.rs:4", &run.Line{File: "core-ipc/src/lib.rs", Line: 4}},
		"the first of several": {s, "error: src/main.c:1\nerror: src/main.c:2", &run.Line{File: "src/main.c", Line: 1}},
		"a library's file":     {s, "error: /root/.cargo/registry/src/serde/src/lib.rs:12:5", nil},
		"not in the tree":      {s, "error: src/other.c:12:5", nil},
		"out of the tree":      {s, "error: ../../etc/passwd.txt:12", nil},
		"a warning":            {s, "warning: src/main.c:12:5: unused", nil},
		"an invalid line":      {s, "error: src/main.c:0", nil},
		"a directory":          {s, "error: core-ipc/src:12", nil},
		"nothing":              {s, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := sourceLocation(test.s, strings.Split(test.tail, "\n"))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
