package provenance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// cached is a store object in a cache on disk. The contents of its NAR do not matter here.
type cached struct {
	path        nix.StorePath
	nar         []byte
	compression gonix.CompressionType
}

func newCached(name string, compression gonix.CompressionType) cached {
	sum := sha256.Sum256([]byte(name))
	return cached{
		path: nix.StorePath("/nix/store/" + nixbase32.EncodeToString(sum[:20]) + "-" + name),
		nar:  bytes.Repeat([]byte(name), 10000), compression: compression,
	}
}

func (c cached) hash() nix.Hash {
	sum := sha256.Sum256(c.nar)
	return gonix.NewHash(gonix.SHA256, sum[:])
}

// write adds the object to a cache, with the given NAR.
func (c cached) write(t *testing.T, dir string, nar []byte) {
	t.Helper()
	var file bytes.Buffer
	switch c.compression {
	case gonix.Zstandard:
		w, err := zstd.NewWriter(&file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(nar)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	case gonix.XZ:
		w, err := xz.NewWriter(&file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(nar)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	default:
		file.Write(nar)
	}
	sum := sha256.Sum256(file.Bytes())
	info := &nix.NARInfo{
		StorePath: c.path, URL: "nar/" + c.path.Digest() + ".nar", Compression: c.compression,
		FileHash: gonix.NewHash(gonix.SHA256, sum[:]), FileSize: int64(file.Len()),
		NARHash: c.hash(), NARSize: int64(len(c.nar)),
	}
	if c.compression == gonix.NoCompression { // the parser compares them
		info.FileHash, info.FileSize = info.NARHash, info.NARSize
	}
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "Deriver: unknown-deriver\n"...) // as Cachix writes it
	for name, data := range map[string][]byte{c.path.Digest() + ".narinfo": text, info.URL: file.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckInCaches(t *testing.T) {
	dir := t.TempDir()
	d, err := binarycache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := nix.Hash(gonix.NewHash(gonix.SHA256, make([]byte, 32)))
	subject := func(c cached) Subject { return Subject{Path: c.path, NARHash: c.hash()} }
	zst, lzma, plain := newCached("zst", gonix.Zstandard), newCached("lzma", gonix.XZ), newCached("plain", gonix.NoCompression)
	damaged, bomb, lost, absent, broken := newCached("damaged", gonix.Zstandard), newCached("bomb", gonix.Zstandard), newCached("lost", gonix.XZ), newCached("absent", gonix.XZ), newCached("broken", gonix.XZ)
	for _, c := range []cached{zst, lzma, plain} {
		c.write(t, dir, c.nar)
	}
	damaged.write(t, dir, bytes.ToUpper(damaged.nar))
	bomb.write(t, dir, make([]byte, 100<<20))
	lost.write(t, dir, lost.nar)
	broken.write(t, dir, broken.nar)
	if err := os.Remove(filepath.Join(dir, "nar", lost.path.Digest()+".nar")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, broken.path.Digest()+".narinfo"), []byte("StorePath: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	differing := subject(zst)
	differing.NARHash = other
	subjects := []Subject{subject(zst), subject(lzma), subject(plain), differing, subject(absent), subject(broken), subject(damaged), subject(bomb), subject(lost)}
	shallow := []Verdict{Same, Same, Same, Differs, Absent, Unreadable, Same, Same, Same}
	deep := []Verdict{Same, Same, Same, Differs, Absent, Unreadable, Differs, Differs, Unreadable}
	for name, test := range map[string]struct {
		holder Holder
		want   []Verdict
	}{
		"directory":      {Cache{NARHasher: d}, shallow},
		"directory/deep": {Cache{NARHasher: d, Deep: true}, deep},
		"web":            {Cache{NARHasher: binarycache.NewHTTP(u)}, shallow},
		"web/deep":       {Cache{NARHasher: binarycache.NewHTTP(u), Deep: true}, deep},
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := Check(t.Context(), subjects, test.holder)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range findings {
				if f.Verdict != test.want[i] || f.Path != subjects[i].Path {
					t.Errorf("%s: %s (%v), want %s", f.Path.Name(), f.Verdict, f.Reason, test.want[i])
				}
				if (f.Verdict == Differs && f.Reason == "") != (f.Found == zst.hash().SRI()) {
					t.Errorf("%s: found %v", f.Path.Name(), f.Found)
				}
				if f.Verdict == Unreadable && f.Reason == "" {
					t.Errorf("%s: unreadable for no reason", f.Path.Name())
				}
			}
		})
	}
}

// A cache that does not answer does not prove that it lacks an object.
func TestWebCacheRefuses(t *testing.T) {
	path := newCached("a", gonix.XZ).path
	narinfo := func(url string) string {
		return fmt.Sprintf("StorePath: %s\nURL: %s\nCompression: none\nNarHash: sha256:%s\nNarSize: 1\nReferences: \n", path, url, strings.Repeat("0", 52))
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a broken server": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "the answer is 500"},
		"a page":          {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "parse narinfo"},
		"another object's": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Replace(narinfo("a"), "-a\n", "-b\n", 1))
		}, "the narinfo is that of"},
		"a file elsewhere": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, narinfo("https://example.org/a.nar")) }, "not a file of the cache"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.answer)
			defer server.Close()
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Cache{NARHasher: binarycache.NewHTTP(u), Deep: true}.NARHash(t.Context(), path)
			if err == nil || errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

// answers is a Nix that gives a fixed answer to each operation.
type answers map[string]func() ([]byte, error)

func (a answers) Run(_ context.Context, cmd engine.Command) ([]byte, error) {
	for _, arg := range cmd.Args {
		if answer := a[arg]; cmd.Program == "nix-store" && answer != nil {
			return answer()
		}
	}
	return nil, fmt.Errorf("run %s %q: not expected", cmd.Program, cmd.Args)
}

func TestStore(t *testing.T) {
	c := newCached("a", gonix.XZ)
	say := func(text string) func() ([]byte, error) {
		return func() ([]byte, error) { return []byte(text), nil }
	}
	exit := func(code int) func() ([]byte, error) {
		return func() ([]byte, error) { return nil, &engine.ExitError{Program: "nix-store", Code: code} }
	}
	hash := say("sha256:" + c.hash().RawBase32() + "\n")
	for name, test := range map[string]struct {
		nix  answers
		deep bool
		want Verdict
	}{
		"there":         {answers{"--check-validity": say(""), "--query": hash}, false, Same},
		"another":       {answers{"--check-validity": say(""), "--query": say("sha256:" + strings.Repeat("0", 52))}, false, Differs},
		"not there":     {answers{"--check-validity": say(string(c.path) + "\n")}, false, Absent},
		"no store":      {answers{"--check-validity": exit(1)}, false, Unreadable},
		"nonsense":      {answers{"--check-validity": say(""), "--query": say("?")}, false, Unreadable},
		"deep":          {answers{"--check-validity": say(""), "--query": hash, "--verify-path": say("")}, true, Same},
		"deep, damaged": {answers{"--check-validity": say(""), "--query": hash, "--verify-path": exit(1)}, true, Differs},
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := Check(t.Context(), []Subject{{Path: c.path, NARHash: c.hash()}}, Store{Runner: test.nix, Deep: test.deep})
			if err != nil || findings[0].Verdict != test.want {
				t.Errorf("%+v, error %v, want %s", findings, err, test.want)
			}
		})
	}
}

func TestCancelledCheck(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := Check(ctx, []Subject{{}}, Store{Runner: answers{}}); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}
