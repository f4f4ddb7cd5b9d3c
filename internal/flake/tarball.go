package flake

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// tarball takes an archive from an HTTP server or a file.
// If the archive has a single directory, that is the tree. The time of the tree is that of its newest entry:
// https://nix.dev/manual/nix/latest/protocols/tarball-fetcher.
func (t *Snapshotter) tarball(ctx context.Context, tree *tree) (Snapshot, error) {
	body, err := t.open(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	defer body.Close()
	tree.quota = cmp.Or(t.maxBytes, maxTarballTree)
	newest, err := unpack(ctx, tree, body)
	if errors.Is(err, errTooLarge) {
		return Snapshot{}, errTooLarge
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("unpack: %w", err)
	}
	if err := tree.stripTopDirectory(); err != nil {
		return Snapshot{}, err
	}
	ref := t.Ref
	ref.NARHash, ref.LastModified = "", 0
	s := Snapshot{Subdir: t.Ref.Dir, Rev: t.Ref.Rev, URL: ref.String(), LastModified: max(newest.Unix(), 0)}
	if t.Ref.LastModified != 0 {
		s.LastModified = t.Ref.LastModified
	}
	return s, nil
}

// open opens the archive at the reference's URL.
func (t *Snapshotter) open(ctx context.Context) (io.ReadCloser, error) {
	u, err := url.Parse(t.Ref.URL)
	if err != nil {
		return nil, errors.New("not a URL") // the error would quote it with its credentials
	}
	if u.Scheme == "file" {
		return regular.Open(u.Path)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Ref.URL, nil)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	resp, err := http.DefaultClient.Do(req)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("fetch tarball: %w", ctx.Err())
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("fetch tarball: %w", withoutURL(err)), "check the network and the name of the host")
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	resp.Body.Close()
	err = fmt.Errorf("fetch tarball: %s", resp.Status)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return nil, hint.Wrap(err, "check the URL; a private repository is fetched with git+ssh:// or git+https:// and git's credentials")
	default:
		return nil, err
	}
}

// unpack adds the files of an archive to the tree and returns the newest of their times. It detects the format by the
// first bytes.
func unpack(ctx context.Context, tree *tree, r io.Reader) (time.Time, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	head, err := buffered.Peek(nar.MagicSize)
	if err != nil && err != io.EOF {
		return time.Time{}, err
	}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return unzip(ctx, tree, buffered)
	}
	content, err := nar.NewDecompressor(buffered, nar.DetectCompression(head))
	if err != nil {
		return time.Time{}, err
	}
	defer content.Close()
	return tree.untar(ctx, content, "")
}

// unzip adds the files of a zip archive. Its directory is at the end, so that it is first stored in a file.
func unzip(ctx context.Context, tree *tree, r io.Reader) (newest time.Time, err error) {
	f, err := os.CreateTemp(filepath.Dir(tree.dir), "*.zip")
	if err != nil {
		return newest, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size, err := io.Copy(f, io.LimitReader(r, tree.quota+1))
	if err != nil {
		return newest, err
	}
	if size > tree.quota {
		return newest, errTooLarge
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return newest, err
	}
	for _, entry := range archive.File {
		if err := errors.Join(ctx.Err(), tree.unzipEntry(entry)); err != nil {
			return newest, err
		}
		if entry.Modified.After(newest) {
			newest = entry.Modified
		}
	}
	return newest, nil
}

func (t *tree) unzipEntry(entry *zip.File) error {
	switch entry.Mode().Type() {
	case fs.ModeDir:
		return t.mkdir(entry.Name)
	case 0, fs.ModeSymlink:
	default:
		return fmt.Errorf("add %q: neither file, directory nor link", entry.Name)
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if entry.Mode().IsRegular() {
		return t.file(entry.Name, entry.Mode()&0o100 != 0, content)
	}
	target, err := io.ReadAll(io.LimitReader(content, 1<<16))
	if err != nil {
		return err
	}
	return t.symlink(entry.Name, string(target))
}

// stripTopDirectory replaces the tree by its only entry, if that is a directory. Nothing may be added afterwards.
func (t *tree) stripTopDirectory() error {
	entries, err := os.ReadDir(t.dir)
	if err != nil || len(entries) != 1 || !entries[0].IsDir() {
		return err
	}
	outside := t.dir + ".top"
	if err := os.Rename(filepath.Join(t.dir, entries[0].Name()), outside); err != nil {
		return err
	}
	err = errors.Join(t.root.Close(), os.Remove(t.dir), os.Rename(outside, t.dir))
	if err != nil {
		return err
	}
	t.root, err = os.OpenRoot(t.dir)
	return err
}
