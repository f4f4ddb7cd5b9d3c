package dagger

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// imageContents is what the names and small files of an image show.
type imageContents struct {
	importable bool // Dagger can import the file
	rootfs     bool // a root file system, which must be converted to an image
	systems    []matrix.System
}

// metadataLimit bounds the files of an archive that are read for their JSON, in bytes.
const metadataLimit = 1 << 20

// open opens the image as a tar archive. It packs a directory and decompresses a file. asIs says that the archive is the
// file itself, which is not read through the context.
func (i Image) open(ctx context.Context) (_ io.ReadCloser, asIs bool, err error) {
	if i.isDir() {
		r, w := io.Pipe()
		go func() { // ends when r is closed
			t := tar.NewWriter(w)
			w.CloseWithError(errors.Join(t.AddFS(os.DirFS(i.path)), t.Close()))
		}()
		return r, false, nil
	}
	f, err := regular.Open(i.path)
	if err != nil {
		return nil, false, err
	}
	magic := make([]byte, nar.MagicSize)
	n, _ := io.ReadFull(f, magic)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	c := nar.DetectCompression(magic[:n])
	if c == nar.NoCompression {
		return f, true, nil // the tar reader skips contents by seeking
	}
	d, err := nar.DecompressFile(f, c)
	return struct {
		io.Reader
		io.Closer
	}{regular.Until(ctx, d), d}, false, err
}

// inspect reads what kind of file the image is.
func (i Image) inspect(ctx context.Context) (imageContents, error) {
	r, asIs, err := i.open(ctx)
	if err != nil {
		return imageContents{}, err
	}
	defer r.Close()
	files, machine, err := scan(ctx, r)
	if err != nil {
		return imageContents{}, err
	}
	_, oci := files["oci-layout"]
	_, docker := files["manifest.json"]
	switch {
	case oci || docker:
		return imageContents{importable: asIs, systems: systemsOf(files)}, nil
	case i.isDir():
		return imageContents{}, errors.New("a directory without an OCI layout")
	case machine == "":
		return imageContents{}, errors.New("neither an image nor a root file system: it has no shell")
	}
	return imageContents{rootfs: true, systems: []matrix.System{machine}}, nil
}

// scan reads through a tarball. It returns the small files at the top and under blobs/, and, from the header of its
// shell, the system that a root file system is for.
func scan(ctx context.Context, r io.Reader) (files map[string][]byte, machine matrix.System, err error) {
	files = map[string][]byte{}
	first := true
	for t := tar.NewReader(r); ctx.Err() == nil; first = false {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return files, machine, nil
		case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF) && first:
			return nil, "", errors.New("not a tar archive")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, "", errors.New("truncated")
		case err != nil:
			return nil, "", err
		case h.Typeflag != tar.TypeReg:
			continue
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		switch {
		case isMetadata(name) && h.Size <= metadataLimit:
			data, err := io.ReadAll(t)
			if err != nil {
				return nil, "", err
			}
			files[name] = data
		case machine == "" && isShell(name):
			machine = elfSystem(t)
		}
	}
	return nil, "", ctx.Err()
}

func isMetadata(name string) bool {
	dir := path.Dir(name)
	return dir == "." && (path.Ext(name) == ".json" || name == "oci-layout") || dir == "blobs/sha256"
}

// isShell reports whether a file is a shell. In an image that Nix made, the shell is in the store.
func isShell(name string) bool {
	base := path.Base(path.Dir(name))
	return (base == "bin" || base == "sbin") && slices.Contains([]string{"bash", "dash", "busybox", "sh"}, path.Base(name))
}

// elfSystem returns the system of a program.
func elfSystem(r io.Reader) matrix.System {
	start := make([]byte, 20)
	if _, err := io.ReadFull(r, start); err != nil {
		return ""
	}
	header, ok := matrix.ELFOf(start)
	system, known := matrix.ByELF(header)
	if !ok || !known {
		return ""
	}
	return system
}

// systemsOf returns the systems of an archive's images: every configuration names its own.
// See https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md.
func systemsOf(files map[string][]byte) []matrix.System {
	var systems []matrix.System
	for _, data := range files {
		var config struct {
			Architecture, OS, Variant string
			RootFS                    *struct{} `json:"rootfs"`
		}
		if json.Unmarshal(data, &config) != nil || config.RootFS == nil {
			continue
		}
		if s, ok := matrix.ByPlatform(path.Join(config.OS, config.Architecture, config.Variant)); ok && !slices.Contains(systems, s) {
			systems = append(systems, s)
		}
	}
	return systems
}

// convert writes a file that Dagger can import. It appears complete, and is never replaced: another process may be
// uploading it.
func (i Image) convert(ctx context.Context, s imageContents, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(target), "image-*.part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	r, _, err := i.open(ctx)
	if err == nil {
		defer r.Close()
		if s.rootfs {
			err = toOCI(f, regular.Until(ctx, r), s.systems[0])
		} else {
			_, err = io.Copy(f, regular.Until(ctx, r))
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), target); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
