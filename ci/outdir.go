package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// checkResults refuses an output directory that the run could not write to at its end.
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
	// The run adds to the provenance of earlier ones.
	_, err := provenance.Read(regular.File{Dir: out, Base: provenance.FileName})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "move the file away; a new one is then written")
	}
	return nil
}

// tryWriting makes the output directory, and makes and removes a directory in it.
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
	work  *workdir.Dir // removed at its end: snapshot, overrides
	logs  *regular.Dir // in --out, and kept
	cache string       // of the user, shared by all runs, and safe to remove
}

func makeDirs(sys process, o options, id string) (d dirs, err error) {
	d.logs = o.out.Sub("logs", id) // made when the first log is written
	env := environment(sys.environ)
	base := env.get("XDG_CACHE_HOME")
	if base == "" {
		base = filepath.Join(env.get("HOME"), ".cache")
	}
	d.cache = filepath.Join(base, "open-sesame-ci")
	workdir.RemoveDead(env.get("TMPDIR"))
	if d.work, err = workdir.Make(env.get("TMPDIR"), "run"); err != nil {
		return d, fmt.Errorf("make working directory: %v", err)
	}
	return d, nil
}
