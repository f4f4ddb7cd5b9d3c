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
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ErrMixed says that one side is a manifest or a cache, and the other a single tree.
var ErrMixed = errors.New("one is a manifest or a cache, the other a tree or a NAR")

// ErrNothing says that there is nothing at a path.
var ErrNothing = errors.New("there is nothing")

// Subject is a set of outputs, or one tree.
type Subject struct {
	set  *Set
	tree *Tree
	// Of a tree:
	file    string    // with links resolved
	written time.Time // of a NAR: when the file was written
}

// Open detects what is at a path:
//
//   - a manifest (a JSON file), or the --out directory of a run, which has a manifest and a cache
//   - a binary cache, which has a file nix-cache-info
//   - a NAR, plain or compressed with zstd or xz
//   - any other file or directory, such as a store path; links are followed, such as those of nix build --out-link
//
// The error is [ErrNothing] if there is nothing at the path.
func Open(ctx context.Context, path string) (Subject, error) {
	file, info, err := follow(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Subject{}, nothingAt(path)
	}
	if err != nil {
		return Subject{}, fmt.Errorf("open %s: %v", printable.Escaped(path), err)
	}
	switch {
	case info.IsDir():
		return openDir(ctx, path, file)
	case info.Mode().IsRegular():
		return openFile(path, file)
	}
	return asTree(path, file, OnDisk(file)), nil
}

func asTree(name, file string, tree Tree) Subject {
	tree.Name = name
	return Subject{tree: &tree, file: file}
}

func nothingAt(path string) error {
	err := fmt.Errorf("open %s: %w", printable.Escaped(path), ErrNothing)
	if _, parseErr := nix.ParseStorePath(path); parseErr == nil {
		return hint.Wrap(err, "to fetch it: nix-store --realise %s", path)
	}
	return err
}

// follow resolves links up to a store path: a store object can be a link itself.
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
	_, notObject := nix.ParseStorePath(dir) // a store object that is a cache is compared as a tree
	switch {
	case notObject != nil && isThere(dir, "manifest.json"):
		return asSet(readManifest(name, filepath.Join(dir, "manifest.json")))
	case notObject != nil && isThere(dir, "nix-cache-info"):
		return asSet(readCache(ctx, name, dir))
	}
	return asTree(name, dir, OnDisk(dir)), nil
}

func isThere(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func openFile(name, file string) (Subject, error) {
	head, err := headOf(file)
	if err != nil {
		return Subject{}, fmt.Errorf("open %s: %v", printable.Escaped(name), err)
	}
	if looksLikeManifest(filepath.Base(file), head) {
		return asSet(readManifest(name, file))
	}
	if !namedNAR(file) && !(nar.IsNAR(head) && len(head) > 8) {
		return asTree(name, file, OnDisk(file)), nil
	}
	subject := asTree(name, file, NARFile(regular.AnyFile(file)))
	if info, err := os.Stat(file); err == nil {
		subject.written = info.ModTime()
	}
	return subject, nil
}

// namedNAR reports whether a file has the name of a NAR. If it contains something else, that is an error.
func namedNAR(file string) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(file, ".zst"), ".xz")
	return strings.HasSuffix(name, ".nar")
}

// looksLikeManifest looks for names in the first lines, so that a truncated manifest gets the right error.
func looksLikeManifest(base string, head []byte) bool {
	has := func(name string) bool { return bytes.Contains(head, []byte(`"`+name+`"`)) }
	isObject := bytes.HasPrefix(bytes.TrimSpace(head), []byte("{"))
	return base == "manifest.json" || isObject && (has("tool") && has("source") || has("version") && has("cells"))
}

func headOf(file string) ([]byte, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}

func asSet(set Set, err error) (Subject, error) { return Subject{set: &set}, err }

// readCache reads all narinfo files of a binary cache.
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

// Compare compares two subjects. The error is [ErrMixed] if they are not of one kind. Two trees with the same digest in
// their names are builds of one derivation: PATH and PATH.check of Nix, and the NARs that a run keeps.
func Compare(ctx context.Context, a, b Subject, o Options) (*Report, error) {
	switch {
	case a.set != nil && b.set != nil:
		return Sets(ctx, *a.set, *b.set, o)
	case a.tree != nil && b.tree != nil:
		o.SameDerivation = o.SameDerivation || digestOf(a.file) != "" && digestOf(a.file) == digestOf(b.file)
		if written := latest(a.written, b.written); o.Run.To.IsZero() && !written.IsZero() {
			o.Run = Window{written.Add(-24 * time.Hour), written.Add(time.Minute)} // a run writes a NAR soon after the build
		}
		return Trees(ctx, *a.tree, *b.tree, o)
	}
	return nil, fmt.Errorf("compare %s with %s: %w", printable.Escaped(a.name()), printable.Escaped(b.name()), ErrMixed)
}

func (s Subject) name() string {
	if s.set != nil {
		return s.set.Name
	}
	return s.tree.Name
}

// digestOf returns the digest of a file that has the name of a store path, or nothing.
func digestOf(file string) string {
	path, err := nix.ParseStorePath(string(nix.StoreDir) + "/" + filepath.Base(file))
	if err != nil {
		return ""
	}
	return path.Digest()
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
