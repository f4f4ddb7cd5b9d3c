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

// publisher is the last stage of an import: it makes store objects visible, references before referrers.
type publisher struct {
	dir  *Dir
	work *regular.Dir

	added []nix.Added
	// waiting has the objects that cannot be published yet, by one of their absent references.
	// Streams of Nix do not need it: references come first.
	waiting map[nix.StorePath][]*importedObject
}

func (p *publisher) run(ctx context.Context, in <-chan *importedObject) error {
	for next := range in {
		if err := <-next.synced; err != nil {
			return err
		}
		// A published object may unblock others, and these may unblock further objects.
		for ready := []*importedObject{next}; len(ready) > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			object := ready[0]
			ready = ready[1:]
			published, err := p.publish(object)
			if err != nil {
				return fmt.Errorf("%s: %w", object.Path, err)
			}
			if published {
				ready = append(ready, p.waiting[object.Path]...)
				delete(p.waiting, object.Path)
			}
		}
	}
	return nil
}

// publish makes an object visible, or lets it wait for a reference.
func (p *publisher) publish(o *importedObject) (bool, error) {
	if o.exists {
		return true, nil
	}
	absent, err := p.absent(o)
	if err != nil {
		return false, err
	}
	if absent != "" {
		p.waiting[absent] = append(p.waiting[absent], o)
		return false, nil
	}

	info, err := p.info(o)
	if err != nil {
		return false, err
	}
	text, err := nix.FormatNARInfo(info)
	if err != nil {
		return false, err
	}
	unlock, err := p.dir.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	// The name of the file is its hash, so it can only replace an equal file. The file is on disk. Its new name is on disk
	// before the narinfo, because the fsync of the narinfo writes the journal of the file system in order.
	if err := p.dir.dir.Rename(incomingName(p.work, o.file), info.URL); err != nil {
		return false, err
	}
	err = p.dir.publishNew(p.work, infoName(o.Path), text)
	if errors.Is(err, fs.ErrExist) { // another process, or the same object twice in the stream
		return p.dir.hasSame(o.Path, o.narHash)
	}
	if err != nil {
		return false, err
	}
	p.added = append(p.added, nix.Added{Path: o.Path, NARSize: o.narSize, FileSize: o.fileSize})
	return true, nil
}

// absent returns a reference of the object that is not in the cache, or an empty path.
func (p *publisher) absent(o *importedObject) (nix.StorePath, error) {
	for _, ref := range o.References {
		if ref == o.Path || p.dir.Partial {
			continue
		}
		if has, err := p.dir.has(ref); err != nil || !has {
			return ref, err
		}
	}
	return "", nil
}

func (p *publisher) info(o *importedObject) (*nix.NARInfo, error) {
	info := &nix.NARInfo{
		StorePath:   o.Path,
		URL:         narDir + "/" + o.fileHash.RawBase32() + ".nar.zst",
		Compression: gonix.Zstandard,
		FileHash:    o.fileHash,
		FileSize:    o.fileSize,
		NARHash:     o.narHash,
		NARSize:     o.narSize,
		References:  o.References,
		Deriver:     o.Deriver,
	}
	if p.dir.Signer == nil {
		return info, nil
	}
	sig, err := gonix.SignNARInfo(p.dir.Signer, info)
	if err != nil {
		return nil, err
	}
	info.AddSignatures(sig)
	return info, nil
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
