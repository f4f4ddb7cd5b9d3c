package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// chunkSize is the size of the chunks that an import compresses.
const chunkSize = 4 << 20

// chain returns objects, each of which refers to the one before and to itself. Every fifth has two chunks, and one is
// exactly one chunk.
func chain(n int) []nartest.Object {
	var objects []nartest.Object
	for i := range n {
		size := 1000 * i
		if i%5 == 4 {
			size = chunkSize + i
		}
		o := nartest.RandomObject(fmt.Sprintf("object-%d", i), size)
		o.Refs = append(o.Refs, o.Path)
		o.Deriver = nartest.Path(o.Path.Name() + ".drv")
		if i > 0 {
			o.Refs = append(o.Refs, objects[i-1].Path)
		}
		objects = append(objects, o)
	}
	if n > 1 {
		empty := len(nartest.File(nil))
		objects[1].Content = bytes.Repeat([]byte("x"), chunkSize-empty)
	}
	return objects
}

func TestImport(t *testing.T) {
	d := openTest(t)
	objects := chain(12)
	added := mustImport(t, d, nartest.Export(objects...))
	if len(added) != len(objects) {
		t.Fatalf("added %d objects, not %d", len(added), len(objects))
	}
	for i, o := range objects {
		info, err := d.Info(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		want := &nix.NARInfo{
			StorePath: o.Path, URL: "nar/" + info.FileHash.RawBase32() + ".nar.zst", Compression: "zstd",
			FileHash: info.FileHash, FileSize: info.FileSize, // Verify looks at these
			NARHash: sha256Of(o.NAR()), NARSize: int64(len(o.NAR())),
			References: nix.SortedPaths(o.Refs), Deriver: o.Deriver,
		}
		if diff := cmp.Diff(text(t, want), text(t, info)); diff != "" {
			t.Errorf("narinfo (-want +got):\n%s", diff)
		}
		if want := (nix.Added{Path: o.Path, NARSize: want.NARSize, FileSize: info.FileSize}); added[i] != want {
			t.Errorf("added %+v; want %+v", added[i], want)
		}
	}
	if err := verify(t.Context(), d, pathsOf(objects...)); err != nil {
		t.Error(err)
	}

	before := snapshot(t, d.Name())
	if again := mustImport(t, d, nartest.Export(objects...)); len(again) != 0 {
		t.Errorf("the second import added %v", again)
	}
	if diff := cmp.Diff(before, snapshot(t, d.Name())); diff != "" {
		t.Error("the second import changed the cache")
	}
}

func text(t *testing.T, info *nix.NARInfo) string {
	t.Helper()
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sha256Of(b []byte) nix.Hash {
	d := nar.NewDigest()
	_, _ = d.Write(b)
	return d.Hash()
}

// A file does not depend on the number of processors, nor on the other objects.
func TestImportIsDeterministic(t *testing.T) {
	objects := chain(12)
	var want map[string]string
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, processors := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(processors)
		d := openTest(t)
		mustImport(t, d, nartest.Export(objects...))
		if got := snapshot(t, d.Name()); want == nil {
			want = got
		} else if !maps.Equal(want, got) {
			t.Errorf("the cache that %d processors made differs", processors)
		}
	}
}

// Nix writes references first. Import also accepts a stream in another order.
func TestImportReferenceOrder(t *testing.T) {
	objects := chain(8)
	slices.Reverse(objects)
	d := openTest(t)
	added := mustImport(t, d, nartest.Export(objects...))
	slices.Reverse(objects)
	var order []nix.StorePath
	for _, a := range added {
		order = append(order, a.Path)
	}
	if diff := cmp.Diff(pathsOf(objects...), order); diff != "" {
		t.Errorf("order of publication (-want +got):\n%s", diff)
	}
}

func TestImportMissingReference(t *testing.T) {
	d := openTest(t)
	fine := nartest.RandomObject("fine", 10)
	lacking := nartest.RandomObject("lacking", 10, nartest.Path("absent"))
	above := nartest.RandomObject("above", 10, lacking.Path, fine.Path)
	mutual1, mutual2 := nartest.RandomObject("mutual1", 1, nartest.Path("mutual2")), nartest.RandomObject("mutual2", 1, nartest.Path("mutual1"))

	added, err := d.Import(t.Context(), bytes.NewReader(nartest.Export(lacking, above, fine, mutual1, mutual2)))
	if len(added) != 1 || added[0].Path != fine.Path {
		t.Errorf("added %v", added)
	}
	for _, o := range []nartest.Object{lacking, above, mutual1, mutual2} {
		if err == nil || !strings.Contains(err.Error(), string(o.Path)+": its reference ") {
			t.Errorf("the error does not name %s:\n%v", o.Path, err)
		}
	}
	checkNoLeftovers(t, d)
	if n := checkConsistent(t, d); n != 1 {
		t.Errorf("%d objects can be seen", n)
	}
}

func TestImportNeverOverwrites(t *testing.T) {
	d := openTest(t)
	first, second := nartest.RandomObject("same", 10), nartest.RandomObject("same", 12)
	later := nartest.RandomObject("later", 5)
	mustImport(t, d, nartest.Export(first))
	for name, stream := range map[string][]byte{
		"in the cache":  nartest.Export(second, later),
		"in the stream": nartest.Export(nartest.RandomObject("twice", 1), nartest.RandomObject("twice", 2), later),
	} {
		before := snapshot(t, d.Name())
		_, err := d.Import(t.Context(), bytes.NewReader(stream))
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		if name == "in the cache" {
			for _, want := range []string{string(first.Path), sha256Of(first.NAR()).SRI(), sha256Of(second.NAR()).SRI()} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not have %s: %v", want, err)
				}
			}
			if !maps.Equal(before, snapshot(t, d.Name())) {
				t.Error("the cache has changed")
			}
		}
		checkNoLeftovers(t, d)
	}
	checkConsistent(t, d)
}

// After an interrupted import, all visible objects are complete, no other files remain, and the next import adds the rest.
func TestImportInterrupted(t *testing.T) {
	objects := chain(12)
	stream := nartest.Export(objects...)
	mine := errors.New("mine")

	tests := map[string]struct {
		reader func(n int, cancel func()) io.Reader
		want   error
	}{
		"truncated": {func(n int, _ func()) io.Reader { return bytes.NewReader(stream[:n]) }, io.ErrUnexpectedEOF},
		"failed": {func(n int, _ func()) io.Reader {
			return io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(mine))
		}, mine},
		"cancelled": {func(n int, cancel func()) io.Reader {
			return &callingReader{r: bytes.NewReader(stream), left: n, call: cancel}
		}, context.Canceled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			for n := 1; n < len(stream); n += len(stream)/9 + 1 {
				d := openTest(t)
				ctx, cancel := context.WithCancel(t.Context())
				added, err := d.Import(ctx, test.reader(n, cancel))
				cancel()
				if !errors.Is(err, test.want) {
					t.Errorf("after %d bytes: the error is %v", n, err)
				}
				checkNoLeftovers(t, d)
				seen := checkConsistent(t, d)
				if seen != len(added) {
					t.Errorf("after %d bytes: %d objects can be seen, but %d were added", n, seen, len(added))
				}
				if complete := completeIn(objects, n); name != "cancelled" && seen != complete {
					t.Errorf("after %d bytes: %d objects can be seen, but %d were complete", n, seen, complete)
				}
				mustImport(t, d, stream)
				if n := checkConsistent(t, d); n != len(objects) {
					t.Errorf("after another import: %d objects can be seen", n)
				}
			}
			for try := 0; runtime.NumGoroutine() > goroutines; try++ { // one that is at its last line may still count
				if try == 100 {
					t.Fatalf("%d goroutines before, %d after", goroutines, runtime.NumGoroutine())
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// completeIn counts the objects that end within the first n bytes of their export.
func completeIn(objects []nartest.Object, n int) int {
	for i, o := range objects {
		if n -= len(o.Export()); n < 0 {
			return i
		}
	}
	return len(objects)
}

// callingReader calls a function after a number of bytes.
type callingReader struct {
	r    io.Reader
	left int
	call func()
}

func (c *callingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= n; c.left <= 0 {
		c.call()
	}
	return n, err
}

func TestImportDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs a small file system: mount: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	d, err := Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.dir.Close() // so that it can be unmounted
	small, large := nartest.RandomObject("small", 1000), nartest.RandomObject("large", 30<<20)
	added, err := d.Import(t.Context(), bytes.NewReader(nartest.Export(small, large)))
	if !errors.Is(err, syscall.ENOSPC) || len(hint.Of(err)) != 1 {
		t.Errorf("the error is %v, its hints are %q", err, hint.Of(err))
	}
	checkNoLeftovers(t, d)
	if n := checkConsistent(t, d); n != len(added) {
		t.Errorf("%d objects can be seen, but %d were added", n, len(added))
	}
	mustImport(t, d, nartest.Export(small))
}

// importerEnv makes the test's program import a stream, as another process of TestImportConcurrently.
const importerEnv = "BINARYCACHE_TEST_IMPORT"

func TestMain(m *testing.M) {
	dir := os.Getenv(importerEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	d, err := Open(dir)
	if err == nil {
		_, err = d.Import(context.Background(), os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Two processes, and two imports in this one, import overlapping sets of objects into an empty cache.
func TestImportConcurrently(t *testing.T) {
	objects := chain(20)
	dir := filepath.Join(t.TempDir(), "cache")
	var group sync.WaitGroup
	for i := range 4 {
		stream := bytes.NewReader(nartest.Export(objects[:len(objects)-4*i]...))
		group.Go(func() {
			if i%2 == 1 {
				d, err := Open(dir)
				if err == nil {
					_, err = d.Import(t.Context(), stream)
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), importerEnv+"="+dir)
			cmd.Stdin = stream
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	group.Wait()

	d, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), d, pathsOf(objects...)); err != nil {
		t.Error(err)
	}
	checkNoLeftovers(t, d)
	alone := openTest(t)
	mustImport(t, alone, nartest.Export(objects...))
	if !maps.Equal(snapshot(t, alone.Name()), snapshot(t, d.Name())) {
		t.Error("the cache differs from one that was filled alone")
	}
}
