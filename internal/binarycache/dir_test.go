package binarycache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar/nartest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

func TestOpen(t *testing.T) {
	d := openTest(t)
	want := "StoreDir: /nix/store\nPriority: 30\nWantMassQuery: 1\n"
	if got := snapshot(t, d.Name()); len(got) != 1 || got["nix-cache-info"] != want {
		t.Errorf("a new cache has the files %q", got)
	}
	if _, err := Open(d.Name()); err != nil {
		t.Errorf("opened again: %v", err)
	}
	checkNoLeftovers(t, d)

	own := "StoreDir: /nix/store\nPriority: 50\n"
	write(t, d.file("nix-cache-info"), own)
	if _, err := Open(d.Name()); err != nil {
		t.Error(err)
	}
	if got := snapshot(t, d.Name()); got["nix-cache-info"] != own {
		t.Errorf("the cache's own nix-cache-info became %q", got)
	}

	write(t, d.file("nix-cache-info"), "StoreDir: /gnu/store\n")
	if _, err := Open(d.Name()); err == nil || !strings.Contains(err.Error(), "for the store /gnu/store") {
		t.Errorf("another store: the error is %v", err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenUnwritable(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		if os.Getuid() == 0 {
			t.Skipf("root can write anywhere but in a read-only file system: mount: %v", err)
		}
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
	} else {
		defer func() { _ = syscall.Unmount(dir, 0) }()
	}
	cache := filepath.Join(dir, "cache")
	_, err := Open(cache)
	if err == nil || !strings.HasPrefix(err.Error(), "open binary cache "+cache+": ") || len(hint.Of(err)) != 1 {
		t.Errorf("the error is %v, its hints are %q", err, hint.Of(err))
	}
	// On a read-only file system, another owner does not help.
	if hints := strings.Join(hint.Of(err), "\n"); errors.Is(err, syscall.EROFS) == strings.Contains(hints, "chown") {
		t.Errorf("the hints for %v are %q", err, hints)
	}
}

func TestOpenReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir); err == nil {
		t.Error("a directory that is no cache was opened")
	}
	if got := snapshot(t, dir); len(got) != 0 {
		t.Errorf("it has now the files %q", got)
	}
	d := openTest(t)
	o := nartest.RandomObject("o", 10)
	mustImport(t, d, nartest.Export(o))
	reader, err := OpenReadOnly(d.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), reader, pathsOf(o)); err != nil {
		t.Error(err)
	}
	if _, err := reader.Import(t.Context(), bytes.NewReader(nartest.Export(o))); err == nil {
		t.Error("imported into a cache that is open for reading")
	}
}

// The files of a killed run are removed after a day. Files that another run writes are not.
func TestOpenSweeps(t *testing.T) {
	d := openTest(t)
	for name, age := range map[string]time.Duration{workPrefix + "old": 25 * time.Hour, workPrefix + "young": 23 * time.Hour} {
		work := filepath.Join(d.file(incomingDir), name)
		if err := os.Mkdir(work, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(work, "0"), "half a NAR")
		when := time.Now().Add(-age)
		if err := os.Chtimes(work, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(d.Name()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(d.file(incomingDir))
	if err != nil || len(entries) != 1 || entries[0].Name() != workPrefix+"young" {
		t.Errorf("files left: %v, %v", entries, err)
	}
}

func TestMissingAndInfo(t *testing.T) {
	d := openTest(t)
	a, b := nartest.RandomObject("a", 1), nartest.RandomObject("b", 2)
	mustImport(t, d, nartest.Export(a, b))
	absent1, absent2 := nartest.Path("absent1"), nartest.Path("absent2")
	missing, err := d.Missing(t.Context(), []nix.StorePath{absent2, a.Path, absent1, b.Path, absent2})
	if want := []nix.StorePath{absent2, absent1, absent2}; err != nil || !slices.Equal(missing, want) {
		t.Errorf("missing are %v, %v; want %v", missing, err, want)
	}
	if _, err := d.Info(absent1); !errors.Is(err, ErrNotFound) {
		t.Errorf("the error is %v", err)
	}

	text, err := os.ReadFile(d.file(infoName(a.Path)))
	if err != nil {
		t.Fatal(err)
	}
	write(t, d.file(infoName(b.Path)), string(text))
	if _, err := d.Info(b.Path); err == nil || !strings.Contains(err.Error(), "the narinfo is that of "+string(a.Path)) {
		t.Errorf("the error is %v", err)
	}
	// Cachix writes this if there is no deriver.
	write(t, d.file(infoName(a.Path)), string(text)+"Deriver: unknown-deriver\n")
	if info, err := d.Info(a.Path); err != nil || info.Deriver != "" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestCheck(t *testing.T) {
	leaf, top := nartest.RandomObject("leaf", 100), nartest.RandomObject("top", 3*chunkSize, nartest.Path("leaf"))
	edit := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	tests := map[string]struct {
		info func(string) string // changes top's narinfo
		nar  func(string) string // changes top's file
		want string
	}{
		"untouched":     {},
		"bit flipped":   {nar: func(s string) string { return s[:5000] + string(s[5000]^1) + s[5001:] }, want: "its file has more"},
		"byte changed":  {nar: func(s string) string { return s[:5000] + string(rune(s[5000]&63+1)) + s[5001:] }, want: "the hash of its file is"},
		"cut":           {nar: func(s string) string { return s[:5000] }, want: "its file has 5000 bytes, not "},
		"longer":        {nar: func(s string) string { return s + "x" }, want: "its file has more than"},
		"NAR hash":      {info: edit("", ""), want: "the hash of its NAR is"},
		"NAR size":      {info: edit("NarSize: 1", "NarSize: 0"), want: "its NAR has more than 2583024 bytes"},
		"compression":   {info: edit("zstd", "br"), want: `decompress br: only zstd, xz, bzip2, gzip and none are supported`},
		"no file hash":  {info: edit("FileHash", "Unknown"), want: "does not say what its file should be"},
		"outside":       {info: edit("URL: nar/", "URL: ../nar/"), want: "path escapes"},
		"not a narinfo": {info: func(string) string { return "<html>" }, want: "parse narinfo"},
		"empty narinfo": {info: func(string) string { return "" }, want: "parse narinfo"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := openTest(t)
			mustImport(t, d, nartest.Export(leaf, top))
			info, err := d.Info(top.Path)
			if err != nil {
				t.Fatal(err)
			}
			if test.info != nil {
				file := d.file(infoName(top.Path))
				old := readFile(t, file)
				text := test.info(old)
				if name == "NAR hash" { // any other letter of the hash will do
					i := strings.Index(old, "NarHash: sha256:") + len("NarHash: sha256:") + 3
					text = old[:i] + string("01"[old[i]&1^1]) + old[i+1:]
				}
				if text == old {
					t.Fatal("the test changes nothing")
				}
				write(t, file, text)
			}
			if test.nar != nil {
				write(t, d.file(info.URL), test.nar(readFile(t, d.file(info.URL))))
			}

			err = verify(t.Context(), d, pathsOf(leaf, top))
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "verify "+string(top.Path)) {
				t.Errorf("the error is %v; want one with %q", err, test.want)
			}
		})
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCheckAbsentAndCancelled(t *testing.T) {
	d := openTest(t)
	o := nartest.RandomObject("o", 1)
	mustImport(t, d, nartest.Export(o))
	if err := verify(t.Context(), d, []nix.StorePath{o.Path, nartest.Path("absent")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := verify(ctx, d, pathsOf(o)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: the error is %v", err)
	}
	if _, err := d.Missing(ctx, pathsOf(o)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: the error is %v", err)
	}
}

// FuzzNARInfo looks for narinfos that cause a crash, or name a file outside of the cache.
func FuzzNARInfo(f *testing.F) {
	d := openTest(f)
	o := nartest.RandomObject("o", 1, nartest.Path("o"))
	o.Deriver = nartest.Path("o.drv")
	mustImport(f, d, nartest.Export(o))
	text := readFile(f, d.file(infoName(o.Path)))
	f.Add(text)
	f.Add(text + "Deriver: unknown-deriver\nSig: a:b\nCA: fixed:r:sha256:x\n")
	f.Add(strings.Replace(text, "nar/", "../", 1))
	f.Fuzz(func(t *testing.T, text string) {
		info, err := nix.ParseNARInfo([]byte(text))
		if err != nil {
			return
		}
		if info.NARSize <= 0 || info.NARHash.IsZero() || info.StorePath.Dir() != nix.StoreDir {
			t.Errorf("%+v", info)
		}
		if file, err := d.OpenNAR(info); err == nil {
			if !strings.HasPrefix(filepath.Clean(file.Name()), d.Name()) {
				t.Errorf("%s opens %s", info.URL, file.Name())
			}
			_ = nar.VerifyFile(io.LimitReader(file, 1<<20), info)
			_ = file.Close()
		}
	})
}
