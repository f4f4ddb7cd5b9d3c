package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ErrMixed says that one side has outputs, as a manifest or a cache, and the other is a single tree.
var ErrMixed = errors.New("one is a manifest or a cache, the other a tree or a NAR")

// ErrNothing says that there is nothing at a path that was to be compared.
var ErrNothing = errors.New("there is nothing")

// Subject is what a path on the command line stands for: a set of outputs, or one tree.
type Subject struct {
	set  *Set
	tree *Tree
}

// Open finds out what is at a path:
//
//   - a manifest (a JSON file), or the --out directory of a run, which has one, with its cache beside it
//   - a binary cache, which has a file nix-cache-info
//   - a NAR, plain or compressed by zstd or xz
//   - any other file or directory, such as a store path; a link is followed, as nix build --out-link makes it
//
// An error is for a person to read. It is [ErrNothing] where there is nothing at the path.
func Open(ctx context.Context, path string) (Subject, error) {
	file, info, err := follow(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Subject{}, nothingAt(path)
	}
	if err != nil {
		return Subject{}, fmt.Errorf("open %s: %v", shown(path), err)
	}
	switch {
	case info.IsDir():
		return openDir(ctx, path, file)
	case info.Mode().IsRegular():
		return openFile(path, file)
	}
	tree := OnDisk(file)
	tree.Name = path
	return Subject{tree: &tree}, nil
}

func nothingAt(path string) error {
	err := fmt.Errorf("open %s: %w", shown(path), ErrNothing)
	if _, parseErr := nix.ParseStorePath(path); parseErr == nil {
		return hint.Wrap(err, "to fetch it: nix-store --realise %s", path)
	}
	return err
}

// follow follows links as far as a store path: a store object may be a link itself.
func follow(path string) (string, fs.FileInfo, error) {
	for range 40 { // as many as Linux follows
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return path, info, err
		}
		if abs, err := filepath.Abs(path); err == nil {
			if _, err := nix.ParseStorePath(abs); err == nil {
				return path, info, nil
			}
		}
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path, nil, errors.New("too many links")
}

func openDir(ctx context.Context, name, dir string) (Subject, error) {
	_, err := nix.ParseStorePath(dir)
	isObject := err == nil // which may be a copy of a cache, and is compared as what it is
	if !isObject && isThere(dir, "manifest.json") {
		return asSet(readManifest(name, filepath.Join(dir, "manifest.json")))
	}
	if !isObject && isThere(dir, "nix-cache-info") {
		return asSet(readCache(ctx, name, dir))
	}
	tree := OnDisk(dir)
	tree.Name = name
	return Subject{tree: &tree}, nil
}

func isThere(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func openFile(name, file string) (Subject, error) {
	head, err := headOf(file)
	if err != nil {
		return Subject{}, fmt.Errorf("open %s: %v", shown(name), err)
	}
	if looksLikeManifest(filepath.Base(file), head) {
		return asSet(readManifest(name, file))
	}
	tree := OnDisk(file)
	if namedNAR(file) || looksLikeNAR(head) && len(head) > 8 {
		tree = NARFile(regular.AnyFile(file))
	} else if compressionOf(head) != "none" && holdsNAR(file) {
		tree = NARFile(regular.AnyFile(file))
	}
	tree.Name = name
	return Subject{tree: &tree}, nil
}

// namedNAR says that a file's name promises a NAR: where it has none, that is an error and no file to compare.
func namedNAR(file string) bool {
	for _, suffix := range []string{".nar", ".nar.zst", ".nar.xz"} {
		if strings.HasSuffix(file, suffix) {
			return true
		}
	}
	return false
}

// looksLikeManifest goes by names that appear in the first lines, so that one that was cut off is told to be that.
func looksLikeManifest(base string, head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	if !bytes.HasPrefix(text, []byte("{")) {
		return base == "manifest.json"
	}
	return base == "manifest.json" || bytes.Contains(text, []byte(`"tool"`)) && bytes.Contains(text, []byte(`"source"`)) ||
		bytes.Contains(text, []byte(`"version"`)) && bytes.Contains(text, []byte(`"cells"`))
}

func headOf(file string) ([]byte, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}

func holdsNAR(file string) bool {
	f, err := regular.Open(file)
	if err != nil {
		return false
	}
	r, err := decompress(f)
	if err != nil {
		_ = f.Close()
		return false
	}
	defer r.Close()
	head := make([]byte, 24)
	n, _ := readBlock(r, head)
	return n > 8 && looksLikeNAR(head[:n])
}

func asSet(set Set, err error) (Subject, error) { return Subject{set: &set}, err }

// readCache reads the narinfo files of a binary cache.
func readCache(ctx context.Context, name, dir string) (Set, error) {
	cache, err := binarycache.OpenReadOnly(dir)
	if err != nil {
		return Set{}, err
	}
	infos, err := cache.All(ctx)
	if err != nil {
		return Set{}, err
	}
	set := Set{Name: name}
	for _, known := range infos {
		info, err := cache.Info(known.Path)
		if err != nil {
			return Set{}, err
		}
		out := setOutput{name: info.StorePath.Name(), path: info.StorePath, hash: info.NARHash}
		if err := out.inCache(cache, info); err != nil {
			return Set{}, err
		}
		set.outputs = append(set.outputs, out)
	}
	slices.SortFunc(set.outputs, func(a, b setOutput) int { return strings.Compare(a.name+string(a.path), b.name+string(b.path)) })
	return set, nil
}

// Compare compares two subjects. The error is [ErrMixed] where they are not of one kind.
func Compare(ctx context.Context, a, b Subject, o Options) (*Report, error) {
	switch {
	case a.set != nil && b.set != nil:
		return Sets(ctx, *a.set, *b.set, o)
	case a.tree != nil && b.tree != nil:
		return Trees(ctx, *a.tree, *b.tree, o)
	}
	return nil, fmt.Errorf("compare %s with %s: %w", shown(a.name()), shown(b.name()), ErrMixed)
}

func (s Subject) name() string {
	if s.set != nil {
		return s.set.Name
	}
	return s.tree.Name
}
