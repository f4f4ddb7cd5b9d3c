package outcache

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
)

const (
	top = nix.StorePath("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-top")
	dep = nix.StorePath("/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-dep")
)

// wire serialises like Nix.
func wire(values ...any) []byte {
	var out []byte
	for _, v := range values {
		switch v := v.(type) {
		case int:
			out = binary.LittleEndian.AppendUint64(out, uint64(v))
		case nix.StorePath:
			out = append(out, wire(string(v))...)
		case string:
			out = append(binary.LittleEndian.AppendUint64(out, uint64(len(v))), v...)
			out = append(out, make([]byte, -len(v)&7)...)
		case []byte:
			out = append(out, v...)
		}
	}
	return out
}

// object is a file in the store: its metadata, and its part of a stream of nix-store --export.
func object(path nix.StorePath, contents string, references ...nix.StorePath) (nix.PathInfo, []byte) {
	nar := wire("nix-archive-1", "(", "type", "regular", "contents", contents, ")")
	h := gonix.NewHasher(gonix.SHA256)
	_, _ = h.Write(nar)
	stream := wire(1, nar, 0x4558494e, path, len(references))
	for _, r := range references {
		stream = append(stream, wire(r)...)
	}
	return nix.PathInfo{Path: path, NARHash: h.SumHash(), NARSize: int64(len(nar)), References: references}, append(stream, wire("", 0)...)
}

// results is a directory of results, with the record of the user.
type results struct {
	dir    *binarycache.Dir
	record *record.Record
	infos  []nix.PathInfo
	stream []byte
	warned []string
}

// newResults makes results with two objects, one of which refers to the other.
func newResults(t *testing.T) *results {
	t.Helper()
	home := t.TempDir()
	dir, err := binarycache.Open(filepath.Join(home, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.Open(filepath.Join(home, "record"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	depInfo, depStream := object(dep, strings.Repeat("a dependency ", 1000))
	topInfo, topStream := object(top, strings.Repeat("an output ", 1000), dep)
	res := &results{dir: dir, record: r, infos: []nix.PathInfo{depInfo, topInfo}, stream: slices.Concat(depStream, topStream, wire(0))}
	res.build(t)
	return res
}

// open returns the cache for another run.
func (r *results) open() *Store {
	return New(r.dir, r.record, func(text string) { r.warned = append(r.warned, text) })
}

// build records and imports both objects, like a run that has built them.
func (r *results) build(t *testing.T) []nix.Added {
	t.Helper()
	s, paths := r.open(), []nix.StorePath{dep, top}
	if err := r.record.Note("run", r.infos); err != nil {
		t.Fatal(err)
	}
	if err := s.SetAside(t.Context(), paths); err != nil {
		t.Fatal(err)
	}
	added, err := s.Import(t.Context(), bytes.NewReader(r.stream))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), paths); err != nil {
		t.Fatal(err)
	}
	return added
}

func missing(t *testing.T, s *Store) []nix.StorePath {
	t.Helper()
	paths, err := s.Missing(t.Context(), []nix.StorePath{dep, top})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func edit(t *testing.T, file string, f func(string) string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := f(string(data))
	if text == string(data) {
		t.Fatal("the test changes nothing")
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A changed object counts as missing, and so do its dependents. The next build replaces it, and keeps the changed files in
// another directory.
func TestChangedObjectIsReplaced(t *testing.T) {
	cut := func(at string) func(string) string {
		return func(s string) string { before, _, _ := strings.Cut(s, at); return before }
	}
	for name, test := range map[string]struct {
		path    nix.StorePath
		narinfo func(string) string
		nar     func(string) string
		want    string // in the warning
	}{
		"a byte of a dependency": {dep, nil, func(s string) string { return s[:50] + string(s[50]&63+1) + s[51:] }, "the hash of its file is"},
		"a byte of an output":    {top, nil, func(s string) string { return s[:50] + string(s[50]&63+1) + s[51:] }, "the hash of its file is"},
		"a file that was cut":    {dep, nil, func(s string) string { return s[:50] }, "its file has 50 bytes"},
		"an empty file":          {dep, nil, func(string) string { return "" }, "its file has 0 bytes"},
		"a narinfo that was cut": {top, cut("References:"), nil, "no field References"},
		"no references":          {top, func(s string) string { return cut("References:")(s) + "References: \n" }, nil, "0 references, and the record has"},
		"other contents":         {top, func(s string) string { return strings.Replace(s, "NarSize: ", "NarSize: 1", 1) }, nil, "and the record has"},
		"another path's narinfo": {top, func(s string) string { return strings.ReplaceAll(s, string(top), string(dep)) }, nil, "the narinfo is that of"},
		"another file": {top, func(s string) string {
			return strings.Replace(s, "URL: nar/", "URL: ../nar/", 1)
		}, nil, "path escapes"},
		"no narinfo": {top, func(string) string { return "" }, nil, "parse narinfo"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newResults(t)
			if paths := missing(t, r.open()); len(paths) > 0 || len(r.warned) > 0 {
				t.Fatalf("before: missing are %v, warnings %q", paths, r.warned)
			}
			info, err := r.dir.Info(test.path)
			if err != nil {
				t.Fatal(err)
			}
			if test.narinfo != nil {
				edit(t, filepath.Join(r.dir.Name(), test.path.Digest()+".narinfo"), test.narinfo)
			}
			if test.nar != nil {
				edit(t, filepath.Join(r.dir.Name(), info.URL), test.nar)
			}

			s := r.open()
			want := []nix.StorePath{dep, top}[slices.Index([]nix.StorePath{dep, top}, test.path):] // top refers to dep
			if paths := missing(t, s); !slices.Equal(paths, want) {
				t.Errorf("missing are %v, want %v", paths, want)
			}
			if len(r.warned) != 1 || !strings.Contains(r.warned[0], test.want) {
				t.Errorf("warnings %q, want one with %q", r.warned, test.want)
			}
			if infos, err := s.Closure(t.Context(), []nix.StorePath{top}); err == nil {
				t.Errorf("closure %v", infos)
			}
			if err := r.open().Verify(t.Context(), []nix.StorePath{test.path}); err == nil {
				t.Error("it is verified")
			}

			if added := r.build(t); len(added) != 1 || added[0].Path != test.path {
				t.Errorf("added %v", added)
			}
			if paths := missing(t, r.open()); len(paths) > 0 {
				t.Errorf("after a build, missing are %v", paths)
			}
			aside, _ := filepath.Glob(filepath.Join(r.dir.Name(), ".damaged", test.path.Digest()+"-*", "*"))
			if len(aside) == 0 {
				t.Error("nothing was kept")
			}
		})
	}
}

// Without a record, all objects count as missing. After Nix has reported the same contents, they are present, without a
// second import.
func TestWithoutRecordNothingIsTrusted(t *testing.T) {
	r := newResults(t)
	empty, err := record.Open(filepath.Join(t.TempDir(), "record"))
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	r.record = empty
	s := r.open()
	if paths := missing(t, s); len(paths) != 2 || !strings.Contains(strings.Join(r.warned, ""), "no record of it is there") {
		t.Errorf("missing are %v, warnings %q", paths, r.warned)
	}
	if infos, err := s.Infos(t.Context(), []nix.StorePath{dep, top}); err != nil || len(infos) > 0 {
		t.Errorf("infos %v, %v", infos, err)
	}
	if added := r.build(t); len(added) > 0 {
		t.Errorf("added %v", added)
	}
	infos, err := r.open().Closure(t.Context(), []nix.StorePath{top})
	if err != nil || len(infos) != 2 || !infos[1].NARHash.Equal(r.infos[1].NARHash) {
		t.Errorf("closure %v, %v", infos, err)
	}
}

// Two systems of a run share dependencies: an object that one has added is present for the other, even after a query.
func TestObjectsOfAnotherRunArePresent(t *testing.T) {
	r := newResults(t)
	r.dir, _ = binarycache.Open(filepath.Join(t.TempDir(), "cache"))
	first, second := r.open(), r.open()
	for _, s := range []*Store{first, second} {
		if paths := missing(t, s); len(paths) != 2 {
			t.Fatalf("missing are %v", paths)
		}
	}
	for _, s := range []*Store{first, second} {
		if _, err := s.Import(t.Context(), bytes.NewReader(r.stream)); err != nil {
			t.Fatal(err)
		}
		if paths := missing(t, s); len(paths) > 0 {
			t.Errorf("missing are %v", paths)
		}
	}
}

// A file is read once. After that, its identity is compared.
func TestFilesAreReadOnce(t *testing.T) {
	r := newResults(t)
	info, err := r.dir.Info(top)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(r.dir.Name(), info.URL), func(s string) string { return s[:50] + string(s[50]&63+1) + s[51:] })
	e, err := r.dir.Entry(top)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.record.Change([]nix.StorePath{top}, func(o *record.Object) { o.AddFile(fileOf(e)) }); err != nil {
		t.Fatal(err)
	}
	if paths := missing(t, r.open()); len(paths) > 0 {
		t.Errorf("missing are %v: it was read again", paths)
	}
}

// A stream that differs from the recorded contents is an error.
func TestImportComparesWithTheRecord(t *testing.T) {
	r := newResults(t)
	r.dir, _ = binarycache.Open(filepath.Join(t.TempDir(), "cache"))
	other := r.infos[1]
	other.References = nil
	if err := r.record.Note("run", []nix.PathInfo{other}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.open().Import(t.Context(), bytes.NewReader(r.stream)); err == nil || !strings.Contains(err.Error(), "1 references, and the record has") {
		t.Errorf("the error is %v", err)
	}
	if paths := missing(t, r.open()); !slices.Equal(paths, []nix.StorePath{top}) {
		t.Errorf("missing are %v", paths)
	}
}

// An object with an unreadable record counts as missing. Other objects are not affected.
func TestUnreadableRecordIsNotTrusted(t *testing.T) {
	r := newResults(t)
	file := filepath.Join(r.record.Path(), "objects", dep.Base()+".json")
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	s := r.open()
	if paths := missing(t, s); len(paths) != 2 || !strings.Contains(strings.Join(r.warned, ""), "read record "+file) {
		t.Errorf("missing are %v, warnings %q", paths, r.warned)
	}
}
