package flake

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtext"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxFlakeFile is the maximum size of a flake.nix.
const maxFlakeFile = 4 << 20

// withSelf returns a Snapshotter that follows the attributes of inputs.self. Since version 2.27, Nix fetches a flake in git
// again, with its submodules, where its flake.nix has "inputs.self.submodules = true". Other fetchers, such as that of
// github, ignore it; see https://github.com/NixOS/nix/issues/14982.
func (t *Snapshotter) withSelf(flake []byte) (*Snapshotter, error) {
	self := selfAttributes(string(flake))
	if self["lfs"] {
		return nil, hint.Wrap(errors.New("the flake asks for files of Git LFS (inputs.self.lfs = true), which this program does not fetch"),
			"where no file of the flake is in Git LFS, leave inputs.self.lfs out of flake.nix")
	}
	if !self["submodules"] || t.Ref.Submodules {
		return t, nil
	}
	with := *t
	with.Ref.Submodules = true
	return &with, nil
}

// workingFlakeFile returns the flake.nix of a working tree. It is empty if there is none; a later check reports that.
func workingFlakeFile(top, subdir string) ([]byte, error) {
	w, err := regular.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	name := filepath.Join(filepath.FromSlash(subdir), "flake.nix")
	info, err := w.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		return nil, nil
	case err != nil:
		return nil, err
	}
	return regular.ReadIn(w, name, maxFlakeFile)
}

// flakeFile returns the flake.nix of a commit. It is empty if there is none.
func (r *repository) flakeFile(ctx context.Context, rev, subdir string) ([]byte, error) {
	data, err := r.blob(ctx, rev, path.Join(subdir, "flake.nix"), maxFlakeFile)
	if _, failed := errors.AsType[*gitError](err); failed || errors.Is(err, fs.ErrNotExist) {
		return nil, nil // git fails if it is a directory
	}
	return data, err
}

// selfAttributes returns the attributes of inputs.self in a flake.nix that are true. Nix accepts only a set there, whose
// inputs are sets, strings, numbers and booleans, so that they can be read without evaluation.
func selfAttributes(flake string) map[string]bool {
	found := map[string]bool{}
	nixtext.Parse(flake).Walk(func(b nixtext.Binding) {
		if len(b.Path) == 3 && b.Path[0] == "inputs" && b.Path[1] == "self" && b.Value.Kind == nixtext.Name && b.Value.Text == "true" {
			found[b.Path[2]] = true
		}
	})
	return found
}
