package drvdiff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Reader has the texts of derivations, as Nix's store has them.
type Reader interface {
	// Derivation returns the text of the .drv file at path. Where it has none, the error wraps [fs.ErrNotExist]:
	// that is an answer, and the walk goes on elsewhere. Any other error ends the walk.
	Derivation(ctx context.Context, path nix.StorePath) ([]byte, error)
}

// Side is one of the two trees.
type Side struct {
	// Name is what errors call the side, such as "manifest" or "this machine".
	Name string
	// Root is the path of a .drv file.
	Root nix.StorePath
	// Reader may be nil where there are no derivations but the root's path.
	Reader
}

// Texts are derivations by path, such as those that came with a manifest.
type Texts map[nix.StorePath][]byte

// Derivation implements [Reader].
func (t Texts) Derivation(_ context.Context, path nix.StorePath) ([]byte, error) {
	if text, ok := t[path]; ok {
		return text, nil
	}
	return nil, fs.ErrNotExist
}

// Store is a directory of store objects: /nix/store itself, or where another store keeps it ("ROOT/nix/store" of
// "local?root=ROOT").
type Store string

// Derivation implements [Reader].
func (s Store) Derivation(_ context.Context, path nix.StorePath) ([]byte, error) {
	dir, err := regular.OpenRoot(string(s))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := regular.OpenIn(dir, path.Base())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText+1))
}

// maxDerivations is how many derivations of one side are read. It is there for trees that are made to have no end.
const maxDerivations = 1 << 17

// tree reads each derivation of a side once.
type tree struct {
	side  Side
	known map[nix.StorePath]*Derivation
}

func newTree(s Side) *tree { return &tree{s, map[nix.StorePath]*Derivation{}} }

// load returns the derivation at path, nil where the side does not have it.
func (t *tree) load(ctx context.Context, path nix.StorePath) (*Derivation, error) {
	if d, ok := t.known[path]; ok {
		return d, nil
	}
	d, err := t.read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read derivation %s (%s): %w", path, t.side.Name, err)
	}
	t.known[path] = d
	return d, nil
}

func (t *tree) read(ctx context.Context, path nix.StorePath) (*Derivation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !path.IsDerivation() {
		return nil, errors.New("its name does not end in .drv")
	}
	if len(t.known) >= maxDerivations {
		return nil, fmt.Errorf("more than %d derivations differ", maxDerivations)
	}
	if t.side.Reader == nil {
		return nil, nil
	}
	text, err := t.side.Derivation(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return d, d.verify(path, text)
}
