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
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// ErrMixed says that one side is a manifest or a cache, and the other a single tree.
var ErrMixed = errors.New("one is a manifest or a cache, the other a tree or a NAR")

// ErrNothing says that there is nothing at a path.
var ErrNothing = errors.New("there is nothing")

// Subject is one side of a comparison: a tree, or the outputs of a manifest or a binary cache.
type Subject struct {
	name     string    // the path as it was given
	tree     *Tree     // nil for a set of outputs
	file     string    // of a tree, with links resolved
	written  time.Time // of a NAR: when the file was written
	manifest *run.Manifest
	outputs  []setOutput
}

// Open detects what is at a path:
//
//   - a manifest (a JSON file), or the --out directory of a run, which has a manifest and a cache
//   - a binary cache, which has a file nix-cache-info
//   - a NAR, plain or compressed
//   - any other file or directory, such as a store path; links are followed, such as those of nix build --out-link
//
// The error is [ErrNothing] if there is nothing at the path.
func Open(ctx context.Context, path string) (Subject, error) {
	file, info, err := follow(path)
	s := Subject{name: path, file: file}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("open %s: %w", printable.Escaped(path), ErrNothing)
		if _, parseErr := nix.ParseStorePath(path); parseErr == nil {
			err = hint.Wrap(err, "to fetch it: nix-store --realise %s", path)
		}
		return s, err
	case err != nil:
		return s, fmt.Errorf("open %s: %v", printable.Escaped(path), err)
	case info.IsDir():
		return s, s.openDir(ctx)
	case info.Mode().IsRegular():
		return s, s.openFile(info.ModTime())
	}
	s.setTree(OnDisk(file))
	return s, nil
}

func (s *Subject) setTree(tree Tree) {
	tree.Name = s.name
	s.tree = &tree
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

func (s *Subject) openDir(ctx context.Context) error {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(s.file, name))
		return err == nil
	}
	_, notObject := nix.ParseStorePath(s.file) // a store object that is a cache is compared as a tree
	switch {
	case notObject != nil && has("manifest.json"):
		return s.readManifest(filepath.Join(s.file, "manifest.json"))
	case notObject != nil && has("nix-cache-info"):
		return s.readCache(ctx)
	}
	s.setTree(OnDisk(s.file))
	return nil
}

func (s *Subject) openFile(written time.Time) error {
	head, err := headOf(s.file)
	if err != nil {
		return fmt.Errorf("open %s: %v", printable.Escaped(s.name), err)
	}
	switch {
	case looksLikeManifest(filepath.Base(s.file), head):
		return s.readManifest(s.file)
	case namedNAR(s.file), nar.IsNAR(head) && len(head) > 8:
		s.setTree(NARFile(regular.AnyFile(s.file)))
		s.written = written
	default:
		s.setTree(OnDisk(s.file))
	}
	return nil
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

// readCache reads all narinfo files of a binary cache.
func (s *Subject) readCache(ctx context.Context) error {
	cache, err := binarycache.OpenReadOnly(s.file)
	if err != nil {
		return err
	}
	infos, err := cache.All(ctx)
	if err != nil {
		return err
	}
	for _, known := range infos {
		info, err := cache.Info(known.Path)
		if err != nil {
			return err
		}
		out := setOutput{name: info.StorePath.Name(), path: info.StorePath, hash: info.NARHash}
		if err := out.inCache(cache, info); err != nil {
			return err
		}
		s.outputs = append(s.outputs, out)
	}
	slices.SortFunc(s.outputs, func(a, b setOutput) int { return strings.Compare(a.name+string(a.path), b.name+string(b.path)) })
	return nil
}

// Compare compares two subjects. The error is [ErrMixed] if they are not of one kind. Two trees with the same digest in
// their names are builds of one derivation: PATH and PATH.check of Nix, and the NARs that a run keeps.
func Compare(ctx context.Context, a, b Subject, o Options) (*Report, error) {
	switch {
	case a.tree == nil && b.tree == nil:
		return compareSets(ctx, a, b, o)
	case a.tree == nil || b.tree == nil:
		return nil, fmt.Errorf("compare %s with %s: %w", printable.Escaped(a.name), printable.Escaped(b.name), ErrMixed)
	}
	o.SameDerivation = o.SameDerivation || digestOf(a.file) != "" && digestOf(a.file) == digestOf(b.file)
	written := a.written
	if b.written.After(written) {
		written = b.written
	}
	if o.Run.To.IsZero() && !written.IsZero() {
		o.Run = Window{written.Add(-24 * time.Hour), written.Add(time.Minute)} // a run writes a NAR soon after the build
	}
	return Trees(ctx, *a.tree, *b.tree, o)
}

// digestOf returns the digest of a file that has the name of a store path, or nothing.
func digestOf(file string) string {
	path, err := nix.ParseStorePath(string(nix.StoreDir) + "/" + filepath.Base(file))
	if err != nil {
		return ""
	}
	return path.Digest()
}
