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

// Reader returns the texts of derivations.
type Reader interface {
	// Derivation returns the text of the .drv file at path. If there is none, the error wraps [fs.ErrNotExist], and the
	// walk continues elsewhere. Any other error ends the walk.
	Derivation(ctx context.Context, path nix.StorePath) ([]byte, error)
}

type Side struct {
	// Name names the side in errors, such as "manifest" or "this machine".
	Name string
	Root nix.StorePath
	// Reader can be nil: then the side has no derivations.
	Reader
}

// Texts are derivations by path, such as those beside a manifest.
type Texts map[nix.StorePath][]byte

func (t Texts) Derivation(_ context.Context, path nix.StorePath) ([]byte, error) {
	if text, ok := t[path]; ok {
		return text, nil
	}
	return nil, fs.ErrNotExist
}

// Store is a directory of store objects: /nix/store, or ROOT/nix/store of the store "local?root=ROOT".
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

// maxDerivations is how many derivations of one side are read. It bounds hostile trees.
const maxDerivations = 1 << 17

// tree reads each derivation of a side once.
type tree struct {
	side  Side
	known map[nix.StorePath]*derivation
}

func newTree(s Side) *tree { return &tree{s, map[nix.StorePath]*derivation{}} }

// load returns the derivation at path, or nil if the side does not have it.
func (t *tree) load(ctx context.Context, path nix.StorePath) (*derivation, error) {
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

func (t *tree) read(ctx context.Context, path nix.StorePath) (*derivation, error) {
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
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	return d, d.verify(path, text)
}
