package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

const pushManual = `Push store paths with their closures, a local binary cache, or what an earlier run could not publish.

  push PATH…            store paths of this machine's store
  push --from DIR       all that is in a local binary cache, such as out/cache
  push --resume         what the journals in OUT list as unpublished, to the project's cache or to the one that --cachix
                        names; a journal that names another cache is refused

An object is pushed if the record of this user's runs on this machine has it with the same contents, or if it is signed
by a key that consumers of the project trust. --unrecorded also pushes other objects, such as those of a directory that
was copied from another machine.

If only the cache kept a release from being good, --resume also pins what the release would have pinned.
Objects are not sent if the cache has them, or if they are signed by another cache of the project's consumers.
An object becomes visible after all that it refers to: an interrupted push leaves complete closures.
Open uploads of a killed run with the same --out are aborted.
The pushed paths go to standard output, one on each line.`

// pushOptions is the command line of push.
type pushOptions struct {
	publish publishOptions
	paths   []nix.StorePath
	from    string
	out     *regular.Dir
	resume  bool
	// unrecorded permits objects that the record of this user's runs does not have.
	unrecorded            bool
	confirm, dryRun, json bool
}

func newPush(process process) *cobra.Command {
	var o pushOptions
	c := &cobra.Command{
		Use:   "push [PATH…]",
		Short: "Push store paths, a local binary cache, or the rest of an earlier run",
		Long:  pushManual,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(args); err != nil {
				return usage(err)
			}
			o.publish.secret = cmp.Or(o.publish.secret, defaultSecret)
			process := process.maskSecret(o.publish.secret)
			if _, err := process.checkEventPolicy(""); err != nil {
				return err
			}
			return runPush(c.Context(), process, o)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVar(&o.from, "from", "", "local binary cache to push all of")
	c.Flags().BoolVar(&o.resume, "resume", false, "continue what the journals in OUT have")
	c.Flags().BoolVar(&o.unrecorded, "unrecorded", false, "also push what no run of this user on this machine has recorded: its contents are not verified")
	c.Flags().BoolVar(&o.publish.unsandboxed, "push-unsandboxed", false, pushUnsandboxedUsage)
	c.Flags().Var(valueOf(&o.out, "out", parseDir), "out", "directory of the earlier run")
	c.Flags().BoolVar(&o.confirm, "confirm", true, "ask the public side of the cache for what was pushed; --confirm=false for a private cache, which answers only with credentials")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be pushed; send nothing")
	c.Flags().BoolVar(&o.json, "json", false, "events as JSON lines on standard output")
	o.publish.register(c)
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
		return hint.Wrap(errors.New("push: want one of PATH…, --from DIR and --resume"), "%s", commandLine("push", "--help"))
	}
	if o.resume && !o.confirm {
		return errors.New("push --resume: a journal is removed only after its paths are confirmed: leave out --confirm=false")
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

func runPush(ctx context.Context, process process, o pushOptions) error {
	name := o.publish.cacheName(defaultProject)
	credential, err := process.credential(o.publish, name, !o.dryRun)
	if err != nil {
		return err
	}
	p, cleanup, err := o.prepare(ctx, process)
	if err != nil {
		return err
	}
	defer cleanup()
	batches, left, err := p.batches(ctx, name)
	if err != nil {
		return err
	}
	var conflicts error
	for _, b := range batches {
		to, err := newCachix(o.publish, b.cache, credential, o.consumers(), b.source)
		if err != nil {
			return usage(err)
		}
		if o.dryRun {
			asking, cancel := run.WithTimeout(ctx, o.publish.timeout, "push-timeout")
			err = dryRun(asking, process, to, b.infos)
			cancel()
		} else {
			err = pushBatch(ctx, process, o, to, b)
		}
		to.Close()
		switch {
		case publish.IsConflict(err): // the other batches can be pushed
			conflicts = errors.Join(conflicts, err)
		case err != nil:
			return errors.Join(conflicts, left, err)
		}
	}
	return errors.Join(conflicts, left)
}

// consumers returns the project whose consumers use what was pushed. On another server than Cachix's own, they trust the
// server's keys, and not those of the cache with the same name at Cachix.
func (o *pushOptions) consumers() project.Project {
	t := defaultProject
	if o.publish.url != "" {
		t.Cachix = ""
	}
	return t
}

// pushBatch pushes, and prints the pushed paths. When all of them are there, it removes the entries of the journal.
func pushBatch(ctx context.Context, process process, o pushOptions, to *publish.Cachix, b batch) error {
	reporter := newReporter(process, outputOptions{json: o.json})
	id := newRunID(process.clock()())
	p := publish.Publisher{
		Recorder: &run.Recorder{Report: reporter, Now: time.Now}, ID: id, Evidence: newEvidence(o.out.Sub("differs", id), process.clock()),
		To: to, From: b.source, Confirm: o.confirm, Timeout: o.publish.timeout, Patience: o.publish.patience, Uploads: to.UploadLog(o.out, id),
	}
	added, err := p.PushOnly(ctx, b.infos)
	if err == nil && b.journal != nil {
		err = p.PinResumed(ctx, b.journal)
	}
	if err == nil || publish.IsConflict(err) { // pushing again would find the same conflict
		for _, e := range b.entries {
			err = errors.Join(err, b.journal.Done(e))
		}
	}
	err = errors.Join(err, reporter.Close())
	if !o.json {
		for _, a := range added {
			fmt.Fprintln(process.stdout, a.Path)
		}
	}
	if publish.IsConflict(err) {
		return err
	}
	return hint.Wrap(err, "run the command again: it continues where it stopped")
}

// dryRun prints what would be pushed.
func dryRun(ctx context.Context, process process, to *publish.Cachix, infos []nix.PathInfo) error {
	plan, err := to.Plan(ctx, infos)
	if err != nil {
		return &publish.Error{Cache: to.Name(), Err: err}
	}
	t := newTable(process.stdout)
	t.row("PLAN", "BYTES", "PATH")
	for _, info := range plan.Push {
		t.row("push", info.NARSize, info.Path)
	}
	for _, path := range plan.There {
		t.row("there", "", path)
	}
	for _, path := range plan.Upstream {
		t.row("upstream", "", path)
	}
	for _, b := range plan.Blocked {
		t.row("blocked", "", b.Path)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(process.stderr, "%d to push (%.1f MiB of NARs), %d there, %d upstream\n",
		len(plan.Push), float64(plan.Bytes)/(1<<20), len(plan.There), len(plan.Upstream))
	return nil
}
