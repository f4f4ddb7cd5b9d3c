package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const pushManual = `Push store paths with their closures, a local binary cache, or what an earlier run could not publish.

  push PATH…            store paths of this machine's store
  push --from DIR       all that is in a local binary cache, such as out/cache
  push --resume         what the journals in OUT say is still to be published to the target's cache, or to the one that
                        --cachix names: a journal that names another is refused

Where a release was good but for the cache, --resume pins what it would have pinned.
What the cache has already is not sent again, nor what the cache that a target's consumers have as well has signed.
Every object becomes visible after all that it refers to: what is there is whole, whenever a push is cut off.
Uploads that a killed run with the same --out has left open on the cache are aborted.
The paths that were pushed go to standard output, one a line.`

// pushOptions is the command line of push.
type pushOptions struct {
	publish publishing
	paths   []nix.StorePath
	from    string
	out     string
	resume  bool
	confirm bool
	dryRun  bool
	json    bool
}

func newPush(sys system) *cobra.Command {
	var f publishFlags
	var o pushOptions
	c := &cobra.Command{
		Use:   "push [PATH…]",
		Short: "Push store paths, a local binary cache, or the rest of an earlier run",
		Long:  pushManual,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.publish, err = f.parse(); err != nil {
				return usage(err)
			}
			if err := o.parse(args); err != nil {
				return usage(err)
			}
			sys = sys.withSecret(f.secret)
			if _, err := sys.allow(""); err != nil {
				return err
			}
			return runPush(c.Context(), sys, o)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVar(&o.from, "from", "", "local binary cache to push all of")
	c.Flags().BoolVar(&o.resume, "resume", false, "go on with what the journals in OUT have")
	c.Flags().StringVar(&o.out, "out", "out", "directory of the earlier run")
	c.Flags().BoolVar(&o.confirm, "confirm", true, "ask the public side of the cache for what was pushed; --confirm=false for a private cache, which answers consumers with credentials alone")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would go up; send nothing")
	c.Flags().BoolVar(&o.json, "json", false, "events as JSON lines on standard output")
	f.register(c)
	return c
}

func (o *pushOptions) parse(args []string) error {
	kinds := 0
	for _, given := range []bool{len(args) > 0, o.from != "", o.resume} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		return hint.Wrap(errors.New("push: want one of PATH…, --from DIR and --resume"), "go run ./ci push --help")
	}
	if o.resume && !o.confirm {
		return errors.New("push --resume: what is left of a run is confirmed before its journal is removed: leave --confirm=false out")
	}
	for _, arg := range args {
		path, err := nix.ParseStorePath(arg)
		if err != nil {
			return err
		}
		o.paths = append(o.paths, path)
	}
	return nil
}

// batch is what one push is about: store objects, where their contents are, and the cache that they go to.
type batch struct {
	cache   string
	infos   []nix.PathInfo
	source  cachix.Source
	journal *pipelines.Journal
	entries []pipelines.JournalEntry
}

func runPush(ctx context.Context, sys system, o pushOptions) error {
	credential, err := sys.secrets.credential(o.publish.secret)
	if err == nil && credential.IsZero() && !o.dryRun {
		err = hint.Wrap(errNoSecret(o.publish.secret), "set %s to an auth token of Cachix, or to the cache's signing key", o.publish.secret)
	}
	name := cacheName(options{publish: o.publish, target: openSesame})
	if err != nil {
		return &pipelines.PublishError{Cache: name, Err: err}
	}
	batches, left, err := o.batches(ctx, sys, name)
	if err != nil {
		return err
	}
	var conflicts error
	for _, b := range batches {
		to, err := newPublisher(o.publish, b.cache, credential, o.consumers(), b.source)
		if err != nil {
			return usage(err)
		}
		if o.dryRun {
			asking, cancel := pipelines.WithTimeout(ctx, o.publish.timeout, "push-timeout")
			err = dryRun(asking, sys, to, b.infos)
			cancel()
		} else {
			err = pushBatch(ctx, sys, o, to, b)
		}
		to.client.Close()
		switch {
		case isConflict(err): // which is about this batch alone
			conflicts = errors.Join(conflicts, err)
		case err != nil:
			return errors.Join(conflicts, err)
		}
	}
	return errors.Join(conflicts, left)
}

func isConflict(err error) bool {
	var conflict *pipelines.ConflictError
	return errors.As(err, &conflict)
}

// consumers returns the target whose consumers look at what was pushed. Those of another server than Cachix's own trust the
// keys that it states, and not those of a cache that has the same name at Cachix.
func (o *pushOptions) consumers() target {
	t := openSesame
	if o.publish.url != "" {
		t.cachix = ""
	}
	return t
}

// batches finds out what is to be pushed to the cache of that name. Left says which journals are of other caches.
func (o *pushOptions) batches(ctx context.Context, sys system, cache string) (batches []batch, left, err error) {
	switch {
	case o.resume:
		return o.resumed(ctx, sys, cache)
	case o.from != "":
		dir, err := binarycache.OpenReadOnly(o.from)
		if err != nil {
			return nil, nil, err
		}
		infos, err := dir.All(ctx)
		return []batch{{cache: cache, infos: infos, source: dir}}, nil, err
	}
	store, err := openStore(ctx, sys)
	if err != nil {
		return nil, nil, err
	}
	infos, err := store.closure(ctx, o.paths)
	return []batch{{cache: cache, infos: infos, source: store}}, nil, err
}

// resumed returns what earlier runs have left to be published to a cache. A journal that names another one stays.
func (o *pushOptions) resumed(ctx context.Context, sys system, cache string) (batches []batch, left, err error) {
	out := regular.NewDir(o.out)
	journals, err := pipelines.OpenJournals(out)
	if err != nil {
		return nil, nil, err
	}
	if len(journals) == 0 {
		fmt.Fprintf(sys.stderr, "nothing to go on with: no run in %s has left a journal\n", o.out)
		return nil, nil, nil
	}
	journals = slices.DeleteFunc(journals, func(j *pipelines.Journal) bool {
		err := o.publish.agreeTo(j.Caches(), j.File())
		left = errors.Join(left, err)
		return err != nil
	})
	if len(journals) == 0 {
		return nil, left, nil
	}
	dir, err := binarycache.OpenReadOnlyIn(out.Sub("cache"))
	if err != nil {
		return nil, nil, err
	}
	for _, j := range journals {
		b := batch{cache: cache, source: dir, journal: j, entries: j.Entries()}
		var roots []nix.StorePath
		for _, e := range b.entries {
			roots = append(roots, e.Paths...)
		}
		if b.infos, err = dir.Closure(ctx, roots); err != nil {
			return nil, nil, err
		}
		batches = append(batches, b)
	}
	return batches, left, nil
}

// pushBatch pushes, and prints what went up. What the journals say is taken back when all of it is there.
func pushBatch(ctx context.Context, sys system, o pushOptions, to *publisher, b batch) error {
	reporter := newReporter(sys, options{json: o.json})
	id := newRunID(sys.clock()())
	run := pipelines.Release{
		Publish: pipelines.Publishing{
			To: to, Timeout: o.publish.timeout, Holder: to.holder(), From: b.source,
			Patience: o.publish.patience, Uploads: to.logUploads(regular.NewDir(o.out), id),
		},
		Rebuild: pipelines.Rebuilding{Evidence: newEvidence(regular.NewDir(o.out).Sub("differs", id), sys.clock())},
		Report:  reporter, Now: time.Now,
	}
	if o.confirm {
		run.Publish.Consumer = to.consumer()
	}
	added, err := run.Republish(ctx, b.infos)
	if err == nil && b.journal != nil {
		err = run.PinResumed(ctx, b.journal.Pins())
	}
	if err == nil || isConflict(err) { // to try that once more changes nothing
		for _, e := range b.entries {
			err = errors.Join(err, b.journal.Done(e))
		}
	}
	err = errors.Join(err, reporter.Close())
	if !o.json {
		for _, a := range added {
			fmt.Fprintln(sys.stdout, a.Path)
		}
	}
	if isConflict(err) {
		return err
	}
	return hint.Wrap(err, "run the command again: it goes on where it stopped")
}

// dryRun says what would go up.
func dryRun(ctx context.Context, sys system, to *publisher, infos []nix.PathInfo) error {
	plan, err := to.client.Plan(ctx, infos, to.upstream)
	if err != nil {
		return &pipelines.PublishError{Cache: to.Name(), Err: err}
	}
	t := tabwriter.NewWriter(sys.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PLAN\tBYTES\tPATH")
	for _, info := range plan.Push {
		fmt.Fprintf(t, "push\t%d\t%s\n", info.NARSize, info.Path)
	}
	for _, path := range plan.There {
		fmt.Fprintf(t, "there\t\t%s\n", path)
	}
	for _, path := range plan.Upstream {
		fmt.Fprintf(t, "upstream\t\t%s\n", path)
	}
	for _, b := range plan.Blocked {
		fmt.Fprintf(t, "blocked\t\t%s\n", b.Path)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(sys.stderr, "%d to push (%.1f MiB of NARs), %d there, %d upstream\n",
		len(plan.Push), float64(plan.Bytes)/(1<<20), len(plan.There), len(plan.Upstream))
	return nil
}
