package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/outcache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
)

// batch is what one push is about: store objects, where their contents are, and the cache that they go to.
type batch struct {
	cache   string
	infos   []nix.PathInfo
	source  cachix.Source
	journal *publish.Journal
	entries []publish.JournalEntry
}

// pushing is a push by hand, and the record of what it may push.
type pushing struct {
	pushOptions
	sys    process
	record *record.Record
}

func (o pushOptions) prepare(ctx context.Context, sys process) (p pushing, cleanup func(), err error) {
	work, err := workdir.Make(environment(sys.environ).get("TMPDIR"), "push")
	if err != nil {
		return p, nil, fmt.Errorf("make working directory: %v", err)
	}
	defer work.Remove()
	scratch := work.Path
	if o.resume {
		if err := checkOut(ctx, sys, o.out, scratch); err != nil {
			return p, nil, err
		}
	}
	r, err := openRecord(ctx, sys, recordPlace{out: o.out, scratch: scratch})
	if err != nil {
		return p, nil, err
	}
	return pushing{o, sys, r}, func() { r.Close() }, nil
}

// batches finds out what is to be pushed to the cache of that name. Left says which journals are not resumed.
func (p pushing) batches(ctx context.Context, cache string) (batches []batch, left, err error) {
	if p.resume {
		return p.resumed(ctx, cache)
	}
	b := batch{cache: cache}
	if p.from != "" {
		b.infos, b.source, err = p.directory(ctx, regular.AnyDir(p.from), nil)
	} else {
		b.infos, b.source, err = p.store(ctx)
	}
	if err == nil {
		err = p.permit(b.infos, publish.Consent{Unsandboxed: p.publish.unsandboxed})
	}
	return []batch{b}, nil, err
}

// store looks up the closure of the paths that were named in this machine's store.
func (p pushing) store(ctx context.Context) ([]nix.PathInfo, cachix.Source, error) {
	store, err := openStore(ctx, p.sys)
	if err != nil {
		return nil, nil, err
	}
	infos, err := store.closure(ctx, p.paths)
	return infos, store, err
}

// directory looks up the closure of roots, or all that there is, in the binary cache in a directory.
func (p pushing) directory(ctx context.Context, path *regular.Dir, roots []nix.StorePath) (infos []nix.PathInfo, source cachix.Source, err error) {
	dir, err := binarycache.OpenReadOnlyIn(path)
	if err != nil {
		return nil, nil, err
	}
	if p.unrecorded {
		if roots == nil {
			infos, err = dir.All(ctx)
		} else {
			infos, err = dir.Closure(ctx, roots)
		}
		return infos, dir, err
	}
	if roots == nil {
		all, err := dir.All(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, info := range all {
			roots = append(roots, info.Path)
		}
	}
	store := outcache.New(dir, p.record, nil)
	infos, err = store.Closure(ctx, roots)
	if err != nil {
		err = hint.Wrap(err, "%s", unrecordedAdvice)
	}
	return infos, store, err
}

const unrecordedAdvice = "build it here first; or, if you trust whoever has made it: --unrecorded"

// resumed returns what earlier runs have left to be published to a cache. A journal that names another one stays.
func (p pushing) resumed(ctx context.Context, cache string) (batches []batch, left, err error) {
	out := regular.NewDir(p.out)
	journals, err := publish.OpenJournals(out, p.record)
	if err != nil { // what the runs have built is good
		left = &publish.Error{Cache: cache, Err: err}
	}
	if len(journals) == 0 && err == nil {
		fmt.Fprintf(p.sys.stderr, "nothing to go on with: no run in %s has left a journal\n", p.out)
		return nil, nil, nil
	}
	journals = slices.DeleteFunc(journals, func(j *publish.Journal) bool {
		err := p.publish.agreeTo(j.Caches(), j.File())
		if err == nil && !j.IsRecorded() && !p.unrecorded {
			err = hint.Wrap(fmt.Errorf("resume push: no run of this user has written %s", j.File()),
				"if it comes from another machine, and you trust whoever has made it: --unrecorded")
		}
		left = errors.Join(left, err)
		return err != nil
	})
	for _, j := range journals {
		b := batch{cache: cache, journal: j, entries: j.Entries()}
		var roots []nix.StorePath
		for _, e := range b.entries {
			roots = append(roots, e.Paths...)
		}
		b.infos, b.source, err = p.directory(ctx, out.Sub("cache"), slices.Concat([]nix.StorePath{}, roots))
		if err == nil {
			err = p.permit(b.infos, p.consent(j))
		}
		switch {
		case ctx.Err() != nil:
			return nil, nil, err
		case err != nil: // which is about this journal alone
			left = errors.Join(left, err)
		default:
			batches = append(batches, b)
		}
	}
	return batches, left, nil
}

// consent is what the command line agrees to, and what the run agreed to that has written a journal.
func (p pushing) consent(j *publish.Journal) publish.Consent {
	c := publish.Consent{}
	if j.IsRecorded() {
		c = j.Consent()
	}
	c.Unsandboxed = c.Unsandboxed || p.publish.unsandboxed
	return c
}

// permit refuses what no run of this user has recorded, and what the record speaks against. What a trusted key has signed
// is what consumers take anyway.
func (p pushing) permit(infos []nix.PathInfo, c publish.Consent) error {
	keys, err := binarycache.ParsePublicKeys(p.consumers().TrustedKeys)
	if err != nil {
		return err
	}
	var unreadable error
	var unknown, unsandboxed, writable, different []string
	for _, info := range infos {
		if binarycache.IsSigned(info, keys) {
			continue
		}
		o, _ := p.record.Object(info.Path)
		switch {
		case o.Unreadable != nil:
			unreadable = errors.Join(unreadable, o.Unreadable)
		case o.Second == record.Different && !c.Different:
			different = append(different, string(info.Path))
		case o.Sandbox == record.WritableInputs:
			writable = append(writable, string(info.Path))
		case o.Sandbox == record.SandboxOff && !c.Unsandboxed:
			unsandboxed = append(unsandboxed, string(info.Path))
		case !o.Matches(info) && !p.unrecorded:
			unknown = append(unknown, string(info.Path))
		}
	}
	return errors.Join(
		unreadable,
		refuse(different, "a second build differed", "a release with --rebuild=warn publishes it all the same"),
		refuse(writable, "built where builders can change their inputs", "build it again where there are build users"),
		refuse(unsandboxed, "built without a sandbox", "--push-unsandboxed pushes it all the same"),
		refuse(unknown, "no run of this user has recorded these contents", unrecordedAdvice),
	)
}

func refuse(paths []string, what, advice string) error {
	if len(paths) == 0 {
		return nil
	}
	names := strings.Join(paths[:min(3, len(paths))], ", ")
	if len(paths) > 3 {
		names += fmt.Sprintf(" and %d more", len(paths)-3)
	}
	return hint.Wrap(fmt.Errorf("push %s: %s", names, what), "%s", advice)
}
