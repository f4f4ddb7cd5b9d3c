package dagger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// DefaultImage is the image of Nix itself, for both systems.
//
// The digest is that of its multi-platform index. Public code of November 2026 has it next to the tag: Dockerfiles for
// docker.io and ghcr.io, a dockerTools.pullImage for arm64, and a document that calls it the multi-platform index. Nix
// 2.35 is not used, because its allocator crashes under QEMU:
// https://github.com/NixOS/nix/issues/16184.
const DefaultImage = "docker.io/nixos/nix:2.34.7@sha256:bf1d938835ab96312f098fa6c2e9cab367728e0aad0646ee3e02a787c80d8fb8"

// Image is a container image: of a registry, or a file or directory of this machine.
type Image struct {
	reference string // of a registry, pinned by digest
	path      string
}

// name [:tag] @digest, where the name has at least two parts or a registry's host.
var (
	pinned   = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$`)
	unpinned = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[a-zA-Z0-9._-]+)?(@sha256:[0-9a-f]*)?$`)
)

// ParseImage returns the image that s names. That is one of
//
//   - a reference with its digest: "nixos/nix:2.34.7@sha256:…"; a tag alone can become another image tomorrow,
//   - a file: an archive of "docker save" or "skopeo copy … oci-archive:", or the tarball of a root file system with
//     Nix in it; each may be compressed with gzip or zstd,
//   - a directory with an OCI layout.
//
// [Open] reads the file. An image needs bash, coreutils, grep, tar and Nix.
func ParseImage(s string) (Image, error) {
	if info, err := os.Stat(s); err == nil {
		if !info.Mode().IsRegular() && !info.IsDir() {
			return Image{}, hint.Wrap(fmt.Errorf("parse image %q: neither a file nor a directory", s), "give a file, or a reference such as %s", DefaultImage)
		}
		path, err := filepath.Abs(s)
		return Image{path: path}, err
	}
	switch {
	case pinned.MatchString(s):
		return Image{reference: s}, nil
	case looksLikePath(s):
		return Image{}, hint.Wrap(fmt.Errorf("parse image %q: no such file", s), "give a file, or a reference such as %s", DefaultImage)
	case unpinned.MatchString(s):
		return Image{}, hint.Wrap(fmt.Errorf("parse image %q: not pinned by digest", s),
			"a tag can become another image: append its digest, %s@sha256:…, as docker buildx imagetools inspect prints it", strings.SplitN(s, "@", 2)[0])
	}
	return Image{}, hint.Wrap(fmt.Errorf("parse image %q: neither a file nor a reference", s), "give a file, or a reference such as %s", DefaultImage)
}

func looksLikePath(s string) bool {
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".oci"} {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")
}

// String returns the image as [ParseImage] takes it.
func (i Image) String() string {
	switch {
	case i.path != "":
		return i.path
	case i.reference != "":
		return i.reference
	}
	return DefaultImage
}

// loadedImage is an image in a form that Dagger can import.
type loadedImage struct {
	name string
	// identity is the reference, or "sha256:…" of the file.
	identity string
	// archive is a file that Container.Import reads; empty for a reference.
	archive string
	// systems are those of the images in an archive; nil if they are not known.
	systems []matrix.System
}

// digest is the identity's digest, short enough for a name.
func (p loadedImage) digest() string {
	_, digest, _ := strings.Cut(p.identity, "sha256:")
	return digest[:12]
}

// has reports whether the archive has, or may have, an image for the system.
func (p loadedImage) has(s matrix.System) bool {
	return p.systems == nil || slices.Contains(p.systems, s)
}

// loading is a lock, so that the executors of a run convert their image once. Waiting for it ends with the context.
var loading = make(chan struct{}, 1)

// loadImage converts the image to a form that Dagger can import. The cache directory keeps converted files by their hash.
func (o Options) loadImage(ctx context.Context) (loadedImage, error) {
	i := o.Image
	if i.path == "" {
		p := loadedImage{name: i.String(), identity: i.String()}
		if i.reference == "" || i.reference == DefaultImage {
			p.systems = matrix.DefaultSystems()
		}
		return p, nil
	}
	select {
	case loading <- struct{}{}:
		defer func() { <-loading }()
	case <-ctx.Done():
		return loadedImage{}, ctx.Err()
	}
	defer o.noticeLong("reading image " + i.path)()
	p, err := i.read(ctx, filepath.Join(o.Cache, "images"))
	if ctx.Err() != nil {
		return loadedImage{}, ctx.Err()
	}
	if err != nil {
		return loadedImage{}, hint.Wrap(fmt.Errorf("read image %s: %v", i.path, err),
			"give an archive of docker save or skopeo, an OCI layout, or the tarball of a root file system with Nix in it")
	}
	return p, nil
}

func (i Image) read(ctx context.Context, cache string) (loadedImage, error) {
	sum, err := i.sum(ctx)
	if err != nil {
		return loadedImage{}, err
	}
	p := loadedImage{name: i.path, identity: string(sum), archive: filepath.Join(cache, sum.Encoded()+".oci.tar")}
	a, err := i.inspect(ctx)
	if err != nil {
		return loadedImage{}, err
	}
	p.systems = a.systems
	if a.importable {
		p.archive = i.path
		return p, nil
	}
	if _, err := os.Stat(p.archive); err == nil {
		return p, nil
	}
	return p, i.convert(ctx, a, p.archive)
}

// sum returns the hash of the file, or that of a layout's index, which contains the hashes of the other files.
func (i Image) sum(ctx context.Context) (digest.Digest, error) {
	path := i.path
	if i.isDir() {
		path = filepath.Join(path, oci.ImageIndexFile)
	}
	f, err := regular.Open(path)
	if errors.Is(err, os.ErrNotExist) && path != i.path {
		return "", errors.New("a directory without an OCI layout")
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	return digest.FromReader(regular.Until(ctx, f))
}

func (i Image) isDir() bool {
	info, err := os.Stat(i.path)
	return err == nil && info.IsDir()
}
