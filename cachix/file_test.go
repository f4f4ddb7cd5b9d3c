package cachix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// files is a stock whose NARs are compressed files. It implements [FileSource].
type files struct {
	stock
	dir   string
	named map[nix.StorePath]*nix.NARInfo
}

// compress writes the compressed NAR of an object to a file.
func (f *files) compress(t testing.TB, path nix.StorePath, compression nar.Compression, data []byte) {
	t.Helper()
	if f.dir == "" {
		f.dir, f.named = t.TempDir(), map[nix.StorePath]*nix.NARInfo{}
	}
	sum := sha256.Sum256(data)
	f.named[path] = &nix.NARInfo{
		StorePath: path, URL: path.Digest(), Compression: compression,
		FileHash: gonix.NewHash(gonix.SHA256, sum[:]), FileSize: int64(len(data)),
	}
	if err := os.WriteFile(filepath.Join(f.dir, path.Digest()), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (f *files) Info(path nix.StorePath) (*nix.NARInfo, error) { return f.named[path], nil }

func (f *files) OpenNAR(info *nix.NARInfo) (*os.File, error) {
	return os.Open(filepath.Join(f.dir, info.URL))
}

// Dump decompresses the file, like a binary cache.
func (f *files) Dump(_ context.Context, w io.Writer, path nix.StorePath) error {
	file, err := f.OpenNAR(f.named[path])
	if err != nil {
		return err
	}
	defer file.Close()
	var unpacked io.Reader = file
	if f.named[path].Compression == nar.Zstd {
		decoder, err := zstd.NewReader(file)
		if err != nil {
			return err
		}
		defer decoder.Close()
		unpacked = decoder
	}
	_, err = io.Copy(w, unpacked)
	return err
}

func zstdOf(t testing.TB, data []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return encoder.EncodeAll(data, nil)
}

// padded makes a zstd file of an exact size, with a frame that decompressors skip (RFC 8878, 3.1.2).
func padded(t testing.TB, file []byte, size int) []byte {
	t.Helper()
	rest := size - len(file) - 8
	if rest < 0 {
		t.Fatalf("%d bytes are more than %d", len(file), size)
	}
	file = binary.LittleEndian.AppendUint32(file, 0x184D2A50)
	file = binary.LittleEndian.AppendUint32(file, uint32(rest))
	return append(file, make([]byte, rest)...)
}

// A file with the wanted compression is sent unchanged; other files are compressed again.
func TestPushFiles(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	source := new(files)
	asIs := source.add(t, "as-is", bytes.Repeat([]byte("text "), 10000))
	plain := source.add(t, "plain", bytes.Repeat([]byte("text "), 10000), asIs)
	file := zstdOf(t, source.nars[asIs])
	source.compress(t, asIs, nar.Zstd, file)
	source.compress(t, plain, nar.NoCompression, source.nars[plain])
	done := mustPushFiles(t, source, c)
	source.sees(t, s, asIs, plain)
	text, _ := s.NARInfo(asIs.Digest())
	if !strings.Contains(text, "FileHash: sha256:"+source.named[asIs].FileHash.RawBase16()+"\n") {
		t.Errorf("the file is another:\n%s", text)
	}
	for _, a := range done.Added {
		if a.Path == plain && a.FileSize >= a.NARSize {
			t.Errorf("%s was not compressed", a.Path)
		}
	}
	checkAfterPush(t, s, c)
}

// replaced is a source whose file is another one when it is opened again.
type replaced struct {
	*files
	good []byte
}

func (r replaced) Dump(_ context.Context, w io.Writer, _ nix.StorePath) error {
	_, err := w.Write(r.good)
	return err
}

// The bytes that are sent are those that are hashed.
func TestPushFileThatIsReplaced(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{Trusting: true}, Options{})
	source := replaced{files: new(files)}
	path := source.add(t, "a", bytes.Repeat([]byte("text "), 10000))
	source.good = source.nars[path]
	forged := bytes.Clone(source.good)
	forged[len(forged)/2] ^= 1
	source.compress(t, path, nar.Zstd, zstdOf(t, forged))
	plan, err := c.Plan(t.Context(), source.infos, nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Push(t.Context(), plan, source, PushOptions{})
	if err == nil || len(done.Added) > 0 || len(s.Paths()) > 0 {
		t.Errorf("added %v, the cache has %v, error %v", done.Added, s.Paths(), err)
	}
}

func mustPushFiles(t testing.TB, source *files, c *Client) run.Pushed {
	t.Helper()
	plan, err := c.Plan(t.Context(), source.infos, nil)
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Push(t.Context(), plan, source, PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// A file whose size is a multiple of the part size has no empty part at its end. With one byte more it has another part.
func TestPushOfExactlySomeParts(t *testing.T) {
	for name, test := range map[string]struct{ size, parts int }{
		"one part":        {partSize, 1},
		"one byte less":   {partSize - 1, 1},
		"one byte more":   {partSize + 1, 2},
		"two parts":       {2 * partSize, 2},
		"two and a byte":  {2*partSize + 1, 3},
		"three to a byte": {3*partSize - 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			source := new(files)
			path := source.add(t, "x", []byte("x"))
			source.compress(t, path, nar.Zstd, padded(t, zstdOf(t, source.nars[path]), test.size))
			mustPushFiles(t, source, c)
			source.sees(t, s, path)
			if n := s.Count("part"); n != test.parts {
				t.Errorf("%d parts, want %d", n, test.parts)
			}
			checkAfterPush(t, s, c)
		})
	}
}

// The same is true for a NAR that is compressed while it is read.
func TestCutterOfExactlySomeParts(t *testing.T) {
	for _, size := range []int{1, partSize - 1, partSize, partSize + 1, 2 * partSize, 3*partSize + 7} {
		var sizes []int64
		memory := newMemory()
		cut := &partWriter{ctx: t.Context(), memory: memory, size: partSize, left: int64(size) + 1<<10, send: func(p part) error {
			if p.number != len(sizes)+1 {
				t.Errorf("part %d came as %d", p.number, len(sizes)+1)
			}
			sizes = append(sizes, p.data.Size())
			p.done()
			return nil
		}}
		for chunk := make([]byte, 700_001); size > 0; {
			n := min(size, len(chunk))
			if err := cut.write(chunk[:n]); err != nil {
				t.Fatal(err)
			}
			size -= n
		}
		if err := cut.flush(); err != nil {
			t.Fatal(err)
		}
		for i, n := range sizes {
			if n == 0 || n > partSize || i < len(sizes)-1 && n != partSize {
				t.Errorf("parts of %d bytes", sizes)
			}
		}
		if memory.used != 0 || !memory.room.TryAcquire(partMemory) {
			t.Error("memory is still reserved")
		}
	}
}

// Parts grow with the NAR, so that their number stays below the limit of the storage.
func TestPartSizeFor(t *testing.T) {
	for _, size := range []int64{0, 1, 1 << 30, 70 << 30, 80 << 30, 1 << 40, 5 << 40} {
		part := partSizeFor(size)
		worst := size + size/64
		if parts := (worst + part - 1) / part; parts > 10_000 || part < partSize || part%(1<<20) != 0 {
			t.Errorf("%d bytes: %d parts of %d", size, parts, part)
		}
	}
}

// A narinfo is not trusted: the upload of a file is not completed if it is another file, is damaged, is truncated, or
// decompresses to another NAR.
func TestPushOfBadFiles(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, f *files, path nix.StorePath)
		want  string
	}{
		"another NAR": {func(t *testing.T, f *files, path nix.StorePath) {
			damaged := bytes.Clone(f.nars[path])
			damaged[len(damaged)/2] ^= 1
			f.compress(t, path, nar.Zstd, zstdOf(t, damaged))
		}, "was altered"},
		"a damaged file": {func(t *testing.T, f *files, path nix.StorePath) {
			data := zstdOf(t, f.nars[path])
			f.compress(t, path, nar.Zstd, data)
			data = bytes.Clone(data)
			data[len(data)/2] ^= 1
			writeNAR(t, f, path, data)
		}, ""},
		"another file of the same NAR": {func(t *testing.T, f *files, path nix.StorePath) {
			data := zstdOf(t, f.nars[path])
			f.compress(t, path, nar.Zstd, padded(t, bytes.Clone(data), len(data)+100))
			other := padded(t, bytes.Clone(data), len(data)+100)
			other[len(other)-1] = 1
			writeNAR(t, f, path, other)
		}, "the hash of the file is not the one in its narinfo"},
		"a file that is cut off": {func(t *testing.T, f *files, path nix.StorePath) {
			data := zstdOf(t, f.nars[path])
			f.compress(t, path, nar.Zstd, data)
			writeNAR(t, f, path, data[:len(data)/2])
		}, ""},
		"a file that is gone": {func(t *testing.T, f *files, path nix.StorePath) {
			f.compress(t, path, nar.Zstd, zstdOf(t, f.nars[path]))
			if err := os.Remove(filepath.Join(f.dir, path.Digest())); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			source := new(files)
			bad := source.add(t, "bad", random(1, 20_000))
			good := source.add(t, "good", []byte("good"))
			test.spoil(t, source, bad)
			source.compress(t, good, nar.Zstd, zstdOf(t, source.nars[good]))
			plan, err := c.Plan(t.Context(), source.infos, nil)
			if err != nil {
				t.Fatal(err)
			}
			done, err := c.Push(t.Context(), plan, source, PushOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) || len(done.Left) != 1 {
				t.Errorf("error %v, left %v", err, done.Left)
			}
			source.sees(t, s, good)
			checkAfterPush(t, s, c)
		})
	}
}

func writeNAR(t testing.TB, f *files, path nix.StorePath, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, path.Digest()), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The buffers of parts are reused, and all buffers together never exceed the limit.
func TestMemory(t *testing.T) {
	m := newMemory()
	var taken [][]byte
	for range partMemory / partSize {
		buffer, err := m.buffer(t.Context(), partSize)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, buffer)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.reserve(ctx, 1); err == nil {
		t.Error("more than the limit was reserved")
	}
	for _, b := range taken {
		m.give(b, partSize)
	}
	if len(m.free) != partMemory/partSize {
		t.Errorf("%d buffers are kept", len(m.free))
	}
	large, err := m.buffer(t.Context(), 10<<20)
	if err != nil {
		t.Fatal(err)
	}
	if kept := int64(len(m.free)) * partSize; kept+10<<20 > partMemory {
		t.Errorf("%d bytes of buffers are kept beside one of %d", kept, cap(large))
	}
	m.give(large, 10<<20)
	// A part that is larger than the limit reserves all of it.
	if err := m.reserve(t.Context(), partMemory+1); err != nil {
		t.Fatal(err)
	}
	m.release(partMemory + 1)
	if m.used != 0 || !m.room.TryAcquire(partMemory) {
		t.Error("memory is still reserved")
	}
}
