package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// fixedPath prints the store path of a file with these contents. It does not add the file.
const fixedPath = `hash=$(nix-hash --type sha256 --flat --base32 "$1/$2") && nix-store --print-fixed-path sha256 "$hash" "$2"`

// keep keeps one path that is in the store and another one that is added later, and asks Nix for its roots.
func keep(ctx context.Context, s subject) error {
	x := s.open(s.engine.Native)
	closed := false
	defer func() {
		if !closed {
			_ = x.Close()
		}
	}()
	names := []string{"now-" + rand.Text(), "later-" + rand.Text()}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(name), 0o644); err != nil {
			return err
		}
	}
	added, err := x.AddPath(ctx, s.dir)
	if err != nil {
		return err
	}
	onX := s
	onX.Executor = x
	var paths []nix.StorePath
	for _, name := range names {
		path, err := onX.output(ctx, sh(fixedPath, added, name))
		if err != nil {
			return err
		}
		paths = append(paths, nix.StorePath(strings.TrimSpace(path)))
	}
	add := func(name string) error {
		_, err := x.Run(ctx, sh(`nix-store --add-fixed sha256 "$1/$2"`, added, name))
		return err
	}
	if err := errors.Join(add(names[0]), x.Keep(ctx, paths), x.Keep(ctx, paths), add(names[1])); err != nil {
		return err
	}
	roots, err := onX.output(ctx, sh("nix-store --gc --print-roots"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !strings.Contains(roots, string(path)) {
			return fmt.Errorf("%s is kept, but the roots do not have it:\n%s", path, roots)
		}
	}
	closed = true
	if err := x.Close(); err != nil {
		return err
	}
	if roots, err = s.output(ctx, sh("nix-store --gc --print-roots")); err != nil {
		return err
	}
	for _, path := range paths {
		if strings.Contains(roots, string(path)) {
			return fmt.Errorf("the roots still have %s after Close:\n%s", path, roots)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Keep(cancelled, paths); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("with a done context, the error is %v", err)
	}
	return nil
}
