package dagger

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dagger.io/dagger"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// addedDir has the added directories in a container, each by the hash of its contents.
const addedDir = "/.open-sesame-ci/placed/"

// AddPath uploads a directory, unless it was uploaded before.
//
// The upload is one tar file: Dagger's own uploads do not keep modification times, which Nix compares with a flake's
// lastModified, and they are slow for many files. Dagger may cache the exec that unpacks it, because the result depends
// only on the file.
func (x *Executor) AddPath(ctx context.Context, dir string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	work, err := workdir.Make("", "upload")
	if err != nil {
		return "", fmt.Errorf("add path %s: %v", dir, err)
	}
	defer work.Remove()
	file, err := os.CreateTemp(work.Path, "*.tar")
	if err != nil {
		return "", fmt.Errorf("add path %s: %v", dir, err)
	}
	h := sha256.New()
	err = errors.Join(pack(contextWriter{ctx, io.MultiWriter(file, h)}, dir), file.Close())
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
	note := time.AfterFunc(noticeAfter, func() { x.options.Notice(atMost("uploading "+dir, limit)) })
	defer note.Stop()
	var unpacked *dagger.Directory
	err = x.session.call(ctx, limit, func(ctx context.Context) (err error) {
		unpacked, err = x.unpack(ctx, file.Name(), path)
		return err
	})
	if err != nil {
		return "", x.explain(ctx, "add path "+dir, err, nil)
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

// contextWriter fails when its context ends. It exists for one call.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(b)
}

// pack writes dir as a tar file that is the same for the same content, modes and modification times.
func pack(w io.Writer, dir string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return packEntry(t, root, path, d)
	})
	return errors.Join(err, t.Close())
}

func packEntry(t *tar.Writer, root, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	target := ""
	switch d.Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a file nor a directory nor a symbolic link", path)
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	// PAX keeps nanoseconds, which newer versions of Nix may compare. Owners and access times depend on this machine.
	h.Name, h.Format = filepath.ToSlash(name), tar.FormatPAX
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	if err := t.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
