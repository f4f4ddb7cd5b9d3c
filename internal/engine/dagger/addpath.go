package dagger

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"dagger.io/dagger"

	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// addedDir has the added directories in a container, each by the hash of its contents.
const addedDir = "/.open-sesame-ci/added/"

// AddPath uploads a directory, unless it was uploaded before.
//
// The upload is one tar file: Dagger's own uploads do not keep modification times, which Nix compares with a flake's
// lastModified, and they are slow for many files. Dagger may cache the exec that unpacks it, because the result depends
// only on the file.
func (x *Executor) AddPath(ctx context.Context, dir string) (string, error) {
	work, err := workdir.Make("", "upload")
	if err != nil {
		return "", fmt.Errorf("add path %s: %v", dir, err)
	}
	defer work.Remove()
	file, err := os.Create(filepath.Join(work.Path, "tree.tar"))
	if err != nil {
		return "", fmt.Errorf("add path %s: %v", dir, err)
	}
	defer context.AfterFunc(ctx, func() { _ = file.Close() })() // ends pack
	h := sha256.New()
	err = errors.Join(pack(io.MultiWriter(file, h), dir), file.Close())
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("add path %s: %v", dir, err)
	}
	path := addedDir + hex.EncodeToString(h.Sum(nil))[:32]
	x.mu.Lock()
	added := x.added[path] != nil
	x.mu.Unlock()
	if added {
		return path, nil
	}
	limit := x.options.limits.transfer
	defer x.options.noticeLong(atMost("uploading "+dir, limit))()
	var unpacked *dagger.Directory
	err = x.query(ctx, limit, "add path "+dir, nil, func(ctx context.Context) (err error) {
		unpacked, err = x.unpack(ctx, file.Name(), path)
		return err
	})
	if err != nil {
		return "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.added[path] = unpacked
	return path, nil
}

func (x *Executor) unpack(ctx context.Context, file, path string) (*dagger.Directory, error) {
	const upload = "/.open-sesame-ci/upload.tar"
	return x.rootfs.
		WithMountedFile(upload, x.client.Host().File(file)).
		WithWorkdir(path).
		WithExec([]string{"tar", "--extract", "--preserve-permissions", "--no-same-owner", "--file", upload}).
		Directory(path).
		Sync(ctx)
}

// withAdded returns the container with all added directories.
func (x *Executor) withAdded() *dagger.Container {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.container
	for path, dir := range x.added {
		c = c.WithMountedDirectory(path, dir)
	}
	return c
}

// pack writes a directory as a tar file. It is the same for the same contents, modes and modification times in seconds.
func pack(w io.Writer, dir string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	h, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	h.Name = "./" // AddFS leaves out the directory itself
	t := tar.NewWriter(w)
	return errors.Join(t.WriteHeader(h), t.AddFS(os.DirFS(root)), t.Close())
}
