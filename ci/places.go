package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// makeWorkDir makes a working directory. The kind is a part of its name.
func (process process) makeWorkDir(kind string) (*workdir.Dir, error) {
	dir, err := workdir.Make(process.environ.get("TMPDIR"), kind)
	if err != nil {
		return nil, fmt.Errorf("make working directory: %v", err)
	}
	return dir, nil
}

// checkOut refuses a directory for results if git tracks a file in it: such files are from the author of a commit, and
// not from a run of this user. Scratch is a directory for git.
func checkOut(ctx context.Context, process process, out, scratch string) error {
	file, err := flake.Tracked(ctx, host.Environment(process.environ), out, scratch)
	if err == nil && file == "" {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("use %s for results: git tracks %s", out, relativeTo(out, file))
	}
	return usage(hint.Wrap(err, "name a directory that is in no checkout, or is ignored there: --out DIR"))
}

// checkManifest refuses to pin the outputs of a manifest that git tracks: the author of a commit would choose which paths
// in the cache get the name of a release.
func checkManifest(ctx context.Context, process process, file string) error {
	work, err := process.makeWorkDir("manifest")
	if err != nil {
		return err
	}
	defer work.Remove()
	tracked, err := flake.Tracked(ctx, host.Environment(process.environ), file, work.Path)
	if err == nil && tracked != "" {
		err = hint.Wrap(fmt.Errorf("pin outputs of %s: git tracks %s", file, relativeTo(filepath.Dir(file), tracked)),
			"name the manifest that the release wrote")
	}
	return usage(err)
}

// relativeTo returns a file's path relative to the working directory if the file is in dir, which may be a link.
func relativeTo(dir, file string) string {
	for _, base := range names(dir) {
		if relative, err := filepath.Rel(base, file); err == nil && filepath.IsLocal(relative) {
			return filepath.Join(dir, relative)
		}
	}
	return file
}

// names returns the absolute path of a file or directory, and its path without symbolic links.
func names(path string) []string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return []string{path, flake.Resolve(path)}
}

// recordPlace names the directories that must not contain the record.
type recordPlace struct {
	flake, out string
	scratch    string // a directory for git
	readOnly   bool
}

// openRecord opens the record of this user's runs. It refuses a directory that can come with a flake or with results, since
// those may be a stranger's.
func openRecord(ctx context.Context, process process, p recordPlace) (*record.Record, error) {
	env := process.environ
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
	file, err := flake.Tracked(ctx, host.Environment(process.environ), dir, p.scratch)
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

// localFlake returns the directory of a flake on this machine; empty for another flake.
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

// isWithin reports whether a path is a directory or below it, with or without symbolic links.
func isWithin(path, dir string) bool {
	for _, p := range names(path) {
		for _, d := range names(dir) {
			if relative, err := filepath.Rel(d, p); err == nil && filepath.IsLocal(relative) {
				return true
			}
		}
	}
	return false
}

// checkResults refuses an output directory with results that the run could not replace at its end.
func checkResults(out *regular.Dir, cmd command) error {
	for name, isDir := range map[string]bool{
		"cache": true, "derivations": true, "differs": true, "journal": true, "logs": true, "sbom": true,
		"check.json": false, "manifest.json": false, provenance.FileName: false,
	} {
		info, err := out.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
		case isDir && !info.IsDir():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: syscall.ENOTDIR}
		case !isDir && info.IsDir():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: syscall.EISDIR}
		case !isDir && !info.Mode().IsRegular():
			err = &fs.PathError{Op: "open", Path: out.File(name), Err: regular.ErrNotRegular}
		}
		if err != nil {
			return unfit(err)
		}
	}
	if !cmd.exports {
		return nil
	}
	// The run adds to the provenance of earlier runs.
	_, err := provenance.Read(regular.File{Dir: out, Base: provenance.FileName})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "move the file away; a new one is then written")
	}
	return nil
}

// tryWriting checks that the output directory can be written to: it makes it, and a directory in it for a moment.
func tryWriting(out *regular.Dir) error {
	trial, err := out.MakeTemp(".trial-")
	if err == nil {
		err = out.Remove(filepath.Base(trial.Name()))
	}
	if err != nil {
		return unfit(err)
	}
	return nil
}

func unfit(err error) error {
	return hint.Wrap(fmt.Errorf("open directory of results: %w", err), "name another directory: --out DIR")
}

// dirs are the directories of a run.
type dirs struct {
	work  *workdir.Dir // for snapshots; removed at the end
	logs  *regular.Dir // in --out, and kept
	cache string       // of the user, for all runs
}

func makeDirs(process process, out *regular.Dir, id string) (d dirs, err error) {
	d.logs = out.Sub("logs", id) // made when the first log is written
	env := process.environ
	d.cache = filepath.Join(cmp.Or(env.get("XDG_CACHE_HOME"), filepath.Join(env.get("HOME"), ".cache")), "open-sesame-ci")
	workdir.RemoveDead(env.get("TMPDIR"))
	d.work, err = process.makeWorkDir("run")
	return d, err
}
