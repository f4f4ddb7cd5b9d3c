package flake

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// packed is a tar archive with a directory around it, as a forge makes them.
var packed = []tar.Header{
	{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}},
	{Typeflag: tar.TypeDir, Name: "r-1.0/", Mode: 0o775},
	{Typeflag: tar.TypeReg, Name: "r-1.0/flake.nix", Mode: 0o664, Linkname: flakeNix},
	{Typeflag: tar.TypeReg, Name: "r-1.0/a/run", Mode: 0o700, Linkname: "#!x"},
	{Typeflag: tar.TypeSymlink, Name: "r-1.0/link", Linkname: "/etc/passwd"},
	{Typeflag: tar.TypeLink, Name: "r-1.0/hard", Linkname: "r-1.0/a/run"},
	{Typeflag: tar.TypeDir, Name: "r-1.0/r-1.0/"},
}

var unpacked = map[string]string{"flake.nix": flakeNix, "a/run": "#!x", "link": "-> /etc/passwd", "hard": "#!x", "r-1.0": "/"}

// tarOf makes a tar archive. The contents of a file are in its Linkname.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = time.Unix(commitTime-int64(i), 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed[W io.WriteCloser](t *testing.T, content []byte, compress func(io.Writer) (W, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compress(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t *testing.T, content []byte) []byte {
	return compressed(t, content, func(w io.Writer) (*gzip.Writer, error) { return gzip.NewWriter(w), nil })
}

// zipOf makes a zip archive of files as writeFiles takes them, in this order.
func zipOf(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f[0], Modified: time.Unix(commitTime-1, 0), Method: zip.Deflate}
		mode := fs.FileMode(0o644)
		content, symlink := strings.CutPrefix(f[1], "-> ")
		switch {
		case symlink:
			mode = fs.ModeSymlink | 0o777
		case strings.HasPrefix(content, "#!"):
			mode = 0o755
		}
		h.SetMode(mode)
		e, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(e, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTarball(t *testing.T) {
	plain := tarOf(t, packed...)
	archives := map[string][]byte{
		"x.tar":     plain,
		"x.tar.gz":  gz(t, plain),
		"x.tar.zst": compressed(t, plain, func(w io.Writer) (*zstd.Encoder, error) { return zstd.NewWriter(w) }),
		"x.tar.xz":  compressed(t, plain, func(w io.Writer) (*xz.Writer, error) { return xz.NewWriter(w) }),
		"x.zip": zipOf(t, [2]string{"r-1.0/flake.nix", flakeNix}, [2]string{"r-1.0/a/run", "#!x"}, [2]string{"r-1.0/link", "-> /etc/passwd"},
			[2]string{"r-1.0/hard", "#!x"}, [2]string{"r-1.0/r-1.0/", ""}),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(archives[strings.TrimPrefix(r.URL.Path, "/")])
	}))
	t.Cleanup(s.Close)
	base := strings.Replace(s.URL, "http://", "http://u:s3cret@", 1)
	hash := ""
	for name := range archives {
		t.Run(name, func(t *testing.T) {
			got := take(t, snapshotter(t, base+"/"+name+"?v=1&token=s3cret", nil))
			wantFiles(t, got, unpacked)
			if got.URL != "tarball+"+s.URL+"/"+name+"?v=1" || got.LastModified != commitTime-1 || got.Rev != "" || got.Dirty {
				t.Errorf("got %+v", got)
			}
			if hash != "" && hash != got.NARHash {
				t.Errorf("NAR hash is %s, was %s", got.NARHash, hash)
			}
			hash = got.NARHash
		})
	}
	t.Run("file", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "x.tgz")
		if err := os.WriteFile(name, archives["x.tar.gz"], 0o644); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, take(t, snapshotter(t, "file://"+name, nil)), unpacked)
	})
	t.Run("refused", func(t *testing.T) {
		tk := snapshotter(t, strings.Replace(s.URL, "http://", "http://u:wr0ng@", 1)+"/x.tar.gz?key=wr0ng", nil)
		takeFails(t, tk, "fetch tarball: 401 Unauthorized", "check the URL")
		tk = snapshotter(t, "http://u:wr0ng@host.invalid/x.tar.gz?key=wr0ng", nil)
		takeFails(t, tk, "fetch tarball: ", "network")
		if _, err := tk.Snapshot(t.Context()); strings.Contains(err.Error()+fmt.Sprint(hint.Of(err)), "wr0ng") {
			t.Errorf("error %q holds the password", err)
		}
	})
}

// TestTarballNotStripped has no single directory at the top.
func TestTarballNotStripped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(name, zipOf(t, [2]string{"flake.nix", flakeNix}, [2]string{"dir/x", "y"}), 0o644); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, take(t, snapshotter(t, "file://"+name, nil)), map[string]string{"flake.nix": flakeNix, "dir/x": "y"})
}

func TestHostileTarballs(t *testing.T) {
	t.Parallel()
	file := func(name, content string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content, Mode: 0o644}
	}
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "dir", Linkname: "/tmp"}
	for name, tt := range map[string]struct {
		archive []byte
		want    string
	}{
		"above":               {tarOf(t, file("a/../../x", "")), "leads out of the tree"},
		"absolute":            {tarOf(t, file("/etc/x", "")), "leads out of the tree"},
		"zip above":           {zipOf(t, [2]string{"../x", ""}), "leads out of the tree"},
		"zip absolute":        {zipOf(t, [2]string{"/x", ""}), "leads out of the tree"},
		"through a link":      {tarOf(t, link, file("dir/x", "")), `add "dir": `},
		"zip through a link":  {zipOf(t, [2]string{"dir", "-> ."}, [2]string{"dir/x", ""}), `add "dir": `},
		"directory over link": {tarOf(t, link, tar.Header{Typeflag: tar.TypeDir, Name: "dir/"}), `add "dir": `},
		"over a link":         {tarOf(t, link, file("dir", "")), `add "dir": `},
		"twice":               {tarOf(t, file("x", ""), file("x", "")), `add "x": `},
		"below a file":        {tarOf(t, file("x", ""), file("x/y", "")), `add "x": `},
		"device":              {tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "x"}), "neither file, directory nor link"},
		"hard link above":     {tarOf(t, tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "../../etc/passwd"}), `add "x": `},
		"hard link to a link": {tarOf(t, link, tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "dir"}), "not a file"},
		"large":               {gz(t, tarOf(t, file("x", strings.Repeat("0", 1<<20)))), "tree is too large"},
		"many":                {gz(t, tarOf(t, many()...)), "tree is too large"},
		"zip large":           {zipOf(t, [2]string{"x", strings.Repeat("0", 1<<20)}), "tree is too large"},
		"cut off":             {gz(t, tarOf(t, packed...))[:100], "unexpected EOF"},
		"not an archive":      {[]byte("<html>not an archive at all</html>"), "unpack: "},
		"empty":               {nil, "no flake.nix"},
	} {
		t.Run(name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "x.tar")
			if err := os.WriteFile(name, tt.archive, 0o644); err != nil {
				t.Fatal(err)
			}
			tk := snapshotter(t, "file://"+name, nil)
			tk.maxBytes = 1 << 19
			takeFails(t, tk, tt.want, "")
		})
	}
}

func many() []tar.Header {
	var all []tar.Header
	for i := range 2000 {
		all = append(all, tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprint(i)})
	}
	return all
}

// TestTarballCancel has a server that stops in the middle.
func TestTarballCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	archive := tarOf(t, packed...)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(archive[:2000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}))
	defer s.Close()
	tk := snapshotter(t, s.URL+"/x.tar", nil)
	if _, err := tk.Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(tk.Dir); len(left) != 0 {
		t.Errorf("left in Dir: %v", left)
	}
}
