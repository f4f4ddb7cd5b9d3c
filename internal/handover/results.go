// Package handover reads the results of builds that were made on other machines: a manifest and a binary cache each.
//
// Anyone may have written them, so nothing in them is believed. Each NAR is compared with its narinfo, each narinfo with
// those of the other machines, and each manifest with the narinfos. What no build has must be in a cache that is trusted.
package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	manifestName = "manifest.json"
	cacheName    = "cache"
	narName      = "nar"
)

// maxFiles limits the files of a binary cache: two for each object of the largest closure.
const maxFiles = 1 << 17

// Results are the results of one run: its manifest, and the binary cache beside it.
type Results struct {
	Name     string // the directory
	Manifest *run.Manifest
	Raw      []byte // the text of the manifest

	cache *binarycache.Dir
}

// Open reads the manifest of a directory of results, or a manifest in one, and opens the cache beside it. The files of the
// cache together must not have more than maxBytes.
func Open(name string, maxBytes int64) (*Results, error) {
	dir := name
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		if filepath.Base(name) != manifestName {
			return nil, fmt.Errorf("read results %s: neither a directory nor a file %s", name, manifestName)
		}
		dir = filepath.Dir(name)
	}
	r := &Results{Name: dir}
	if err := r.open(maxBytes); err != nil {
		return nil, fmt.Errorf("read results %s: %w", dir, err)
	}
	return r, nil
}

func (r *Results) open(maxBytes int64) error {
	if err := checkFiles(r.Name, maxBytes); err != nil {
		return err
	}
	raw, m, err := run.ReadManifestIn(regular.AnyDir(r.Name), manifestName)
	if err != nil {
		return err
	}
	r.Raw = raw
	if r.Manifest = m; len(m.Cells) == 0 {
		return errors.New("its manifest has no system")
	}
	for _, cell := range m.Cells {
		if err := checkCell(cell); err != nil {
			return err
		}
	}
	r.cache, err = binarycache.OpenReadOnlyIn(regular.AnyDir(r.Name).Sub(cacheName))
	return err
}

// checkFiles refuses links and special files among the files that are read, and too many or too large files. Other files
// of the directory are not read.
func checkFiles(dir string, maxBytes int64) error {
	count, size := 0, int64(0)
	add := func(name string) error {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		switch {
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		case stat != nil && stat.Nlink > 1:
			return hint.Wrap(fmt.Errorf("%s has %d hard links", name, stat.Nlink), "copy the directory, without links: cp -r --no-preserve=links")
		}
		count, size = count+1, size+info.Size()
		if count > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		if size > maxBytes {
			return hint.Wrap(fmt.Errorf("the files have more than %d bytes", maxBytes), "if that is right: --max-size SIZE")
		}
		return nil
	}
	if err := add(manifestName); err != nil {
		return err
	}
	for _, sub := range []string{cacheName, filepath.Join(cacheName, narName)} {
		info, err := os.Lstat(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) && sub != cacheName {
			continue // an artifact has no empty directories
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", sub)
		}
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := filepath.Join(sub, entry.Name())
			if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == narName) {
				continue
			}
			if err := add(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCell checks the parts of a cell that are compared or published, which the parser of manifests takes as they are.
func checkCell(cell run.CellResult) error {
	seen := map[matrix.Package]bool{}
	if cell.Verdict != run.Built && cell.Verdict != run.Served {
		return fmt.Errorf("its manifest has %s as %.20q, which is no good result", cell.System, cell.Verdict)
	}
	if len(cell.Packages) == 0 {
		return fmt.Errorf("its manifest has no package for %s", cell.System)
	}
	for _, p := range cell.Packages {
		if seen[p.Package] {
			return fmt.Errorf("its manifest has the package %s twice for %s", p.Package, cell.System)
		}
		seen[p.Package] = true
		if err := checkPackage(p); err != nil {
			return fmt.Errorf("its manifest has the package %s of %s %w", p.Package, cell.System, err)
		}
	}
	return nil
}

func checkPackage(p run.PackageResult) error {
	switch p.Verdict {
	case run.Built, run.Present, run.Substituted, run.Served:
	default:
		return fmt.Errorf("as %.20q, which is no good result", p.Verdict)
	}
	drv, err := nix.ParseStorePath(string(p.Derivation))
	if err != nil || !strings.HasSuffix(string(drv), ".drv") {
		return errors.New("without a derivation")
	}
	if len(p.Outputs) == 0 {
		return errors.New("without outputs")
	}
	names := map[string]bool{}
	for _, o := range p.Outputs {
		if o.Name == "" || names[o.Name] || strings.Trim(o.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._?=") != "" {
			return fmt.Errorf("with the output %.40q", o.Name)
		}
		names[o.Name] = true
		if o.NARHash == "" {
			continue
		}
		if hash, err := nix.ParseHash(o.NARHash); err != nil || hash.SRI() != o.NARHash {
			return fmt.Errorf("with the NAR hash %.80q", o.NARHash)
		}
	}
	return nil
}
