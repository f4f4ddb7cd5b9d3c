package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/outcache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// batch is one push: store objects, their contents, and the journal that lists them.
type batch struct {
	cache   string
	infos   []nix.PathInfo
	source  cachix.Source
	journal *publish.Journal // nil if no journal lists them
	entries []publish.JournalEntry
}

// pushing is a push by hand, and the record of this user's runs.
type pushing struct {
	pushOptions
	process process
	record  *record.Record
}

func (o pushOptions) prepare(ctx context.Context, process process) (p pushing, cleanup func(), err error) {
	work, err := process.makeWorkDir("push")
	if err != nil {
		return p, nil, err
	}
	defer work.Remove()
	if o.resume {
		if err := checkOut(ctx, process, o.out.Name(), work.Path); err != nil {
			return p, nil, err
		}
	}
	r, err := openRecord(ctx, process, recordPlace{out: o.out.Name(), scratch: work.Path})
	return pushing{o, process, r}, func() { r.Close() }, err
}

// batches returns the batches for a cache. Left is the error of journals that are not resumed.
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

// store looks up the closure of the named paths in this machine's store.
func (p pushing) store(ctx context.Context) ([]nix.PathInfo, cachix.Source, error) {
	store, err := openStore(ctx, p.process)
	if err != nil {
		return nil, nil, err
	}
	infos, err := store.closure(ctx, p.paths)
	return infos, store, err
}

// directory looks up the closure of roots in a binary cache in a directory. Without roots it takes all objects.
func (p pushing) directory(ctx context.Context, path *regular.Dir, roots []nix.StorePath) ([]nix.PathInfo, cachix.Source, error) {
	dir, err := binarycache.OpenReadOnlyIn(path)
	if err != nil {
		return nil, nil, err
	}
	if roots == nil {
		all, err := dir.All(ctx)
		if err != nil || p.unrecorded {
			return all, dir, err
		}
		for _, info := range all {
			roots = append(roots, info.Path)
		}
	}
	if p.unrecorded {
		infos, err := dir.Closure(ctx, roots)
		return infos, dir, err
	}
	store := outcache.New(dir, p.record, nil)
	infos, err := store.Closure(ctx, roots)
	return infos, store, hint.Wrap(err, "%s", unrecordedAdvice)
}

const unrecordedAdvice = "build it here first; or, if you trust its author: --unrecorded"

// resumed returns a batch for each journal of the cache. Left is the error of the journals that cannot be resumed.
func (p pushing) resumed(ctx context.Context, cache string) (batches []batch, left, err error) {
	journals, err := publish.OpenJournals(p.out, p.record)
	if err != nil { // the runs of the other journals are good
		left = &publish.Error{Cache: cache, Err: err}
	}
	if len(journals) == 0 && err == nil {
		fmt.Fprintf(p.process.stderr, "nothing to resume: no run in %s left a journal\n", p.out.Name())
	}
	for _, j := range journals {
		b := batch{cache: cache, journal: j, entries: j.Entries()}
		switch err := p.fill(ctx, &b); {
		case ctx.Err() != nil:
			return nil, nil, err
		case err != nil:
			left = errors.Join(left, err)
		default:
			batches = append(batches, b)
		}
	}
	return batches, left, nil
}

// fill looks up the objects of a batch's journal. The journal has to name the cache, and to be of a run of this user.
func (p pushing) fill(ctx context.Context, b *batch) (err error) {
	if err := agreeTo(p.publish.cacheName(defaultProject), b.journal.Caches(), b.journal.File()); err != nil {
		return err
	}
	consent := publish.Consent{Unsandboxed: p.publish.unsandboxed}
	if b.journal.IsRecorded() {
		consent = b.journal.Consent()
		consent.Unsandboxed = consent.Unsandboxed || p.publish.unsandboxed
	} else if !p.unrecorded {
		return hint.Wrap(fmt.Errorf("resume push: no run of this user wrote %s", b.journal.File()),
			"if it is from another machine, and you trust its author: --unrecorded")
	}
	roots := []nix.StorePath{}
	for _, e := range b.entries {
		roots = append(roots, e.Paths...)
	}
	if b.infos, b.source, err = p.directory(ctx, p.out.Sub("cache"), roots); err != nil {
		return err
	}
	return p.permit(b.infos, consent)
}

// permit refuses objects that the record does not have, or has an objection to. Objects with the signature of a trusted key
// are permitted, because consumers accept them anyway.
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
		refuse(different, "a second build differed", "release --rebuild=warn publishes it"),
		refuse(writable, "built where builders can change their inputs", "build it again on a machine with build users"),
		refuse(unsandboxed, "built without a sandbox", "--push-unsandboxed pushes it"),
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

// store is this machine's store. It implements [cachix.Source].
type store struct {
	nix     *host.Executor
	version nix.Version
	root    string // of the file system that the store is in; empty for this machine's own
}

func openStore(ctx context.Context, process process) (*store, error) {
	x, err := host.Open(ctx, host.Options{System: matrix.X8664Linux, Env: process.environ, Settings: nix.Settings{"extra-experimental-features": "nix-command", "plugin-files": ""}})
	if err != nil {
		return nil, err
	}
	e, err := x.Describe(ctx)
	if err != nil {
		return nil, err
	}
	return &store{nix: x, version: e.Nix, root: rootOf(process.environ.get("NIX_REMOTE"))}, nil
}

// rootOf returns the root of a local store, such as /mnt of "local?root=/mnt".
func rootOf(remote string) string {
	_, query, _ := strings.Cut(remote, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		if root, ok := strings.CutPrefix(parameter, "root="); ok {
			return root
		}
	}
	return ""
}

// closure returns the closure of the paths.
func (s *store) closure(ctx context.Context, paths []nix.StorePath) ([]nix.PathInfo, error) {
	args := append(nix.PathInfoArgs(s.version), "--recursive")
	for _, p := range paths {
		args = append(args, string(p))
	}
	out, err := s.nix.Run(ctx, engine.Command{Program: "nix", Args: args})
	if err != nil {
		return nil, fmt.Errorf("look up closure: %w", err)
	}
	return nix.ParsePathInfo(out)
}

// Dump writes the NAR of a store object, read from its files.
func (s *store) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	return nar.DumpTree(ctx, w, filepath.Join(s.root, string(path)))
}
