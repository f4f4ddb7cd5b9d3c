package dagger

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestParseImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nix.tar")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for _, test := range []struct{ in, want string }{
		{DefaultImage, ""},
		{"nixos/nix" + digest, ""},
		{"localhost:5000/nix:2.34" + digest, ""},
		{file, ""},
		{"nixos/nix", "not pinned by digest"},
		{"nixos/nix:latest", "not pinned by digest"},
		{"nixos/nix@sha256:abc", "not pinned by digest"},
		{"./missing", "no such file"},
		{"missing.tar", "no such file"},
		{"", "neither a file nor a reference"},
		{"not an image", "neither a file nor a reference"},
	} {
		i, err := ParseImage(test.in)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("ParseImage(%q): %v", test.in, err)
		case test.want == "" && i.String() != test.in:
			t.Errorf("ParseImage(%q) = %s", test.in, i)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || len(hint.Of(err)) == 0):
			t.Errorf("ParseImage(%q): error %v, hints %q; want %q and a hint", test.in, err, hint.Of(err), test.want)
		}
	}
	if got := (Image{}).String(); got != DefaultImage {
		t.Errorf("the zero Image is %s", got)
	}
}

// Opening a pipe would wait for a writer.
func TestParseImageRefusesPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "nix.tar")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseImage(pipe); err == nil || !strings.Contains(err.Error(), "neither a file nor a directory") {
		t.Errorf("error is %v", err)
	}
}

// If the context ends, load waits neither for the conversion of another executor nor for the disk.
func TestLoadImageEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nix.tar")
	if err := os.WriteFile(file, tarball(t, "bin/bash", string(probe.ELF(matrix.AArch64Linux))), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	loading <- struct{}{}
	ended := make(chan error)
	go func() {
		_, err := Options{Notice: func(string) {}, Image: Image{path: file}, Cache: t.TempDir()}.loadImage(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	<-loading
	if _, err := (Image{path: file}).inspect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("inspect: %v", err)
	}
	if _, err := (&Executor{options: Options{}}).AddPath(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("add path: %v", err)
	}
}

// tarball makes a tarball of files, given as name and content in turn.
func tarball(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := writeEntry(w, files[i], []byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func xzed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLoadImage(t *testing.T) {
	shell := string(probe.ELF(matrix.AArch64Linux))
	rootfs := tarball(t, "./usr/bin/bash", shell, "./etc/passwd", "root")
	config := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}`
	oci := tarball(t, "oci-layout", "{}", "index.json", "{}", "blobs/sha256/00", config)
	docker := tarball(t, "abc.json", config, "manifest.json", "[]")
	arm, amd := []matrix.System{matrix.AArch64Linux}, []matrix.System{matrix.X8664Linux}
	for _, test := range []struct {
		name    string
		content []byte
		systems []matrix.System
		asIs    bool
		err     string
	}{
		{name: "root file system", content: rootfs, systems: arm},
		{name: "root file system, gzip", content: gzipped(rootfs), systems: arm},
		{name: "root file system, zstd", content: zstded(rootfs), systems: arm},
		{name: "OCI archive", content: oci, systems: amd, asIs: true},
		{name: "OCI archive, gzip", content: gzipped(oci), systems: amd},
		{name: "Docker archive", content: docker, systems: amd, asIs: true},
		{name: "empty", err: "neither an image nor a root file system"},
		{name: "not a tarball", content: bytes.Repeat([]byte("text"), 1000), err: "not a tar archive"},
		{name: "truncated", content: rootfs[:len(rootfs)/2-500], err: "truncated"},
		{name: "a few bytes", content: []byte("text"), err: "not a tar archive"},
		{name: "root file system, xz", content: xzed(t, rootfs), systems: arm},
		{name: "damaged xz", content: []byte("\xfd7zXZ\x00"), err: "decompress xz"},
		{name: "no shell", content: tarball(t, "etc/passwd", "root"), err: "it has no shell"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, cache := filepath.Join(t.TempDir(), "image"), t.TempDir()
			if err := os.WriteFile(file, test.content, 0o644); err != nil {
				t.Fatal(err)
			}
			i, err := ParseImage(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Options{Notice: func(string) {}, Image: i, Cache: cache}.loadImage(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || len(hint.Of(err)) == 0 {
					t.Errorf("error %v, hints %q; want %q and a hint", err, hint.Of(err), test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(p.systems, test.systems) || (p.archive == file) != test.asIs {
				t.Errorf("loaded %+v, want systems %v, as it is: %t", p, test.systems, test.asIs)
			}
			// Dagger can import the converted file, and it is written only once.
			s, err := Image{path: p.archive}.inspect(t.Context())
			if err != nil || !s.importable || !slices.Equal(s.systems, test.systems) {
				t.Errorf("inspect the converted file: %+v, %v", s, err)
			}
			if files, _ := filepath.Glob(filepath.Join(cache, "images", "*.part")); len(files) > 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestLoadImageLayout(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	_, err := Options{Notice: func(string) {}, Image: Image{path: dir}, Cache: cache}.loadImage(t.Context())
	if err == nil || !strings.Contains(err.Error(), "a directory without an OCI layout") {
		t.Errorf("error of an empty directory is %v", err)
	}
	for name, text := range map[string]string{
		"oci-layout": "{}", "index.json": "{}", "blobs/sha256/00": `{"architecture":"arm64","os":"linux","rootfs":{}}`,
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Options{Notice: func(string) {}, Image: Image{path: dir}, Cache: cache}.loadImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Image{path: p.archive}.inspect(t.Context())
	if err != nil || !s.importable || !slices.Equal(s.systems, []matrix.System{matrix.AArch64Linux}) {
		t.Errorf("inspect the converted directory: %+v, %v", s, err)
	}
}
