package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// publisher makes the store objects of an import visible, references before referrers.
type publisher struct {
	dir  *Dir
	work *regular.Dir

	added []nix.Added
	// waiting has the objects that cannot be published yet, by one of their absent references.
	// Streams of Nix do not need it: references come first.
	waiting map[nix.StorePath][]*importedObject
}

// add publishes an object, and the objects that have waited for it.
func (p *publisher) add(ctx context.Context, o *importedObject) error {
	for ready := []*importedObject{o}; len(ready) > 0; ready = ready[1:] {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		published, err := p.publish(ready[0])
		if err != nil {
			return fmt.Errorf("%s: %w", ready[0].Path, err)
		}
		if published {
			ready = append(ready, p.waiting[ready[0].Path]...)
			delete(p.waiting, ready[0].Path)
		}
	}
	return nil
}

// publish makes an object visible, or lets it wait for a reference.
func (p *publisher) publish(o *importedObject) (bool, error) {
	unlock, err := p.dir.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if has, err := p.dir.hasSame(o.Path, o.packed.NARHash); err != nil || has {
		return has, err
	}
	for _, ref := range o.References {
		if has, err := p.dir.has(ref); err != nil {
			return false, err
		} else if !has && ref != o.Path && !p.dir.isLeftOut(ref) {
			p.waiting[ref] = append(p.waiting[ref], o)
			return false, nil
		}
	}
	info := o.info()
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		return false, err
	}
	// The name of the file is its hash, so it can only replace an equal file. The file is on disk. Its new name is on disk
	// before the narinfo, because the fsync of the narinfo writes the journal of the file system in order.
	if err := p.dir.dir.Rename(incomingName(p.work, o.fileName()), info.URL); err != nil {
		return false, err
	}
	err = p.dir.publishNew(p.work, infoName(o.Path), text)
	if errors.Is(err, fs.ErrExist) { // another process, on a file system without locks
		return p.dir.hasSame(o.Path, info.NARHash)
	}
	if err != nil {
		return false, err
	}
	p.added = append(p.added, nix.Added{Path: o.Path, NARSize: info.NARSize, FileSize: info.FileSize})
	return true, nil
}

// hasSame returns whether the cache has a store object. It returns an error if the object has another NAR there.
func (d *Dir) hasSame(path nix.StorePath, narHash nix.Hash) (bool, error) {
	info, err := d.info(path)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read narinfo: %w", err)
	case !info.NARHash.Equal(narHash):
		return false, fmt.Errorf("its NAR hash is %v, but that of the cache is %v", narHash, info.NARHash)
	}
	return true, nil
}

func (o *importedObject) info() *nix.NARInfo {
	return &nix.NARInfo{
		StorePath:   o.Path,
		URL:         narDir + "/" + o.packed.FileHash.RawBase32() + ".nar.zst",
		Compression: gonix.Zstandard,
		FileHash:    o.packed.FileHash,
		FileSize:    o.packed.FileSize,
		NARHash:     o.packed.NARHash,
		NARSize:     o.packed.NARSize,
		References:  o.References,
		Deriver:     o.Deriver,
	}
}

// unresolved returns an error for each object that still waits.
func (p *publisher) unresolved() error {
	var errs []error
	for _, absent := range slices.Sorted(maps.Keys(p.waiting)) {
		for _, o := range p.waiting[absent] {
			errs = append(errs, fmt.Errorf("%s: its reference %s is neither in the cache nor in the stream before its end", o.Path, absent))
		}
	}
	return errors.Join(errs...)
}
