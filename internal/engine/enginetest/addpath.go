package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// writeTree writes a tree with all kinds of files that a source may have.
func writeTree(dir string) error {
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o755),
		os.MkdirAll(filepath.Join(dir, "empty"), 0o755),
		os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "private"), []byte("\x00\xff"), 0o600),
		os.WriteFile(filepath.Join(dir, "sub", "program"), []byte("#!/bin/sh\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub", "deep", "späce and ünïcode"), nil, 0o644),
		os.Symlink("sub/program", filepath.Join(dir, "link")),
		os.Symlink("../no/such/file", filepath.Join(dir, "sub", "dangling")),
	)
	if err != nil {
		return err
	}
	// Inner files first, because a change in a directory changes its time.
	return walkUp(dir, func(path string, _ fs.DirEntry) error {
		at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC).Add(time.Duration(len(path)) * time.Hour)
		second := unix.NsecToTimeval(at.UnixNano())
		return unix.Lutimes(path, []unix.Timeval{second, second})
	})
}

func walkUp(dir string, do func(string, fs.DirEntry) error) error {
	type entry struct {
		path string
		d    fs.DirEntry
	}
	var entries []entry
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		entries = append(entries, entry{path, d})
		return err
	})
	for _, e := range slices.Backward(entries) {
		err = errors.Join(err, do(e.path, e.d))
	}
	return err
}

// listing returns a line for each file of a tree: kind, mode, modification time, path and target.
func listing(dir string) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		target, _ := os.Readlink(path)
		kind := map[fs.FileMode]string{0: "f", fs.ModeDir: "d", fs.ModeSymlink: "l"}[d.Type()]
		lines = append(lines, fmt.Sprintf("%s %o %d %s -> %s", kind, info.Mode().Perm(), info.ModTime().Unix(), strings.TrimPrefix(name, "."), target))
		return nil
	})
	slices.Sort(lines)
	return lines, err
}

func addPathKeepsTree(ctx context.Context, s subject) error {
	if err := writeTree(s.dir); err != nil {
		return err
	}
	added, err := s.AddPath(ctx, s.dir)
	if err != nil {
		return err
	}
	want, err := listing(s.dir)
	if err != nil {
		return err
	}
	out, err := s.output(ctx, sh(`find "$1" -printf '%y %m %Ts %P -> %l\n'; cat "$1/private" >&2`, added))
	if err != nil {
		return err
	}
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	slices.Sort(got)
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			return fmt.Errorf("the added tree is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	out, err = s.output(ctx, sh(`od -An -tx1 "$1/private"`, added))
	if err == nil && strings.TrimSpace(out) != "00 ff" {
		err = fmt.Errorf("content of a added file is %s", out)
	}
	return err
}

func addPathTwice(ctx context.Context, s subject) error {
	if err := writeTree(s.dir); err != nil {
		return err
	}
	first, err := s.AddPath(ctx, s.dir)
	if err != nil {
		return err
	}
	second, err := s.AddPath(ctx, s.dir)
	if err != nil {
		return err
	}
	other := filepath.Join(s.dir, "empty")
	third, err := s.AddPath(ctx, other)
	if err != nil {
		return err
	}
	out, err := s.output(ctx, sh(`cat "$1/file" "$2/file"; ls -A "$3"`, first, second, third))
	if err == nil && out != "text\ntext\n" {
		err = fmt.Errorf("content is %q", out)
	}
	return err
}

// addPathForFlake checks that an added flake has the time of its newest file, which Nix 2.8 verifies.
func addPathForFlake(ctx context.Context, s subject) error {
	at := time.Date(2022, 3, 4, 5, 6, 7, 0, time.UTC)
	flake := filepath.Join(s.dir, "flake.nix")
	err := errors.Join(
		os.WriteFile(flake, []byte(`{ outputs = { self }: { inherit (self) lastModified; }; }`), 0o644),
		os.Chtimes(flake, at, at), os.Chtimes(s.dir, at, at),
	)
	if err != nil {
		return err
	}
	added, err := s.AddPath(ctx, s.dir)
	if err != nil {
		return err
	}
	ref := fmt.Sprintf("path:%s?lastModified=%d", added, at.Unix())
	out, err := s.output(ctx, nixCommand("eval", "--no-write-lock-file", ref+"#lastModified"))
	if err == nil && strings.TrimSpace(out) != fmt.Sprint(at.Unix()) {
		err = fmt.Errorf("lastModified is %s, want %d", out, at.Unix())
	}
	return err
}
