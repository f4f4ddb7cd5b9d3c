package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// checkOut refuses a directory for results of which a part comes with a checkout: who has committed that is not who runs
// this program. Scratch is a directory for git.
func checkOut(ctx context.Context, sys process, out, scratch string) error {
	file, err := flake.Tracked(ctx, host.Environment(sys.environ), out, scratch)
	if err == nil && file == "" {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("use %s for results: git tracks %s", out, relativeTo(out, file))
	}
	return usage(hint.Wrap(err, "name a directory that is in no checkout, or is ignored there: --out DIR"))
}

// checkManifest refuses a manifest that comes with a checkout, where it says what is to be pinned: it would choose which
// of the paths in the cache gets the name of a release.
func checkManifest(ctx context.Context, sys process, file string) error {
	work, err := workdir.Make(environment(sys.environ).get("TMPDIR"), "manifest")
	if err != nil {
		return fmt.Errorf("make working directory: %v", err)
	}
	defer work.Remove()
	tracked, err := flake.Tracked(ctx, host.Environment(sys.environ), file, work.Path)
	if err == nil && tracked != "" {
		err = hint.Wrap(fmt.Errorf("pin outputs of %s: git tracks %s", file, relativeTo(filepath.Dir(file), tracked)),
			"name the manifest that the release has written")
	}
	if err != nil {
		return usage(err)
	}
	return nil
}

// relativeTo writes a file as it would be reached by a name of a directory that it is in.
func relativeTo(dir, file string) string {
	for _, base := range []string{dir, flake.Resolve(absolute(dir))} {
		if relative, err := filepath.Rel(absolute(base), file); err == nil && filepath.IsLocal(relative) {
			return filepath.Join(dir, relative)
		}
	}
	return file
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// recordPlace is where the record of this user's runs is, and what it must not be in.
type recordPlace struct {
	flake, out string
	scratch    string // a directory for git
	readOnly   bool
}

// openRecord opens the record of this user's runs. It is refused where somebody else may have put it: with a flake or with
// results.
func openRecord(ctx context.Context, sys process, p recordPlace) (*record.Record, error) {
	env := environment(sys.environ)
	dir, err := record.Dir(env.get("XDG_STATE_HOME"), env.get("HOME"))
	if err != nil {
		return nil, usage(err)
	}
	const advice = "set XDG_STATE_HOME to a directory that is in no checkout"
	for what, outer := range map[string]string{"the flake's directory": localFlake(p.flake), "the directory for results": p.out} {
		if outer != "" && isWithin(dir, outer) {
			return nil, usage(hint.Wrap(fmt.Errorf("open record of builds: %s is in %s", dir, what), advice))
		}
	}
	file, err := flake.Tracked(ctx, host.Environment(sys.environ), dir, p.scratch)
	if err == nil && file != "" {
		err = fmt.Errorf("open record of builds: git tracks %s", file)
	}
	if err != nil {
		return nil, usage(hint.Wrap(err, advice))
	}
	if p.readOnly {
		return record.OpenReadOnly(dir)
	}
	return record.Open(dir)
}

// localFlake returns the directory of a flake on this machine; empty for any other.
func localFlake(text string) string {
	if text == exampleFlake {
		return ""
	}
	ref, err := flake.ParseRef(text)
	if err != nil || ref.Path == "" {
		return ""
	}
	if info, err := os.Stat(ref.Path); err != nil || !info.IsDir() {
		return ""
	}
	return ref.Path
}

// isWithin says whether a path is a directory or lies in it, by way of symbolic links or not.
func isWithin(path, dir string) bool {
	for _, p := range []string{absolute(path), flake.Resolve(absolute(path))} {
		for _, d := range []string{absolute(dir), flake.Resolve(absolute(dir))} {
			if p == d || strings.HasPrefix(p, strings.TrimSuffix(d, "/")+"/") {
				return true
			}
		}
	}
	return false
}
