package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/handover"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const publishManual = `Publish what other machines have built, if a second machine has built the same.

  publish BUILD… --against REBUILD…

BUILD and REBUILD are directories of results (--out of build), or the manifest.json in one: one or more for each, with
different systems. This command builds and evaluates nothing, and starts no other program. It believes nothing that is in
the directories: each NAR must be as its narinfo states, each manifest must agree with the narinfos, and each store object
must be the same in a BUILD and a REBUILD. What the directories lack must be in a substituter of the project, signed by one
of its trusted keys. Then it pushes, confirms and pins as release does, and writes one manifest, the bills of materials and
the provenance into OUT.

If a build and its rebuild differ, nothing is pushed, both NARs are kept and compared, and the exit code is 3.
--rebuild=off publishes a BUILD without a REBUILD. Only --cachix names the cache, and only --system says which systems
there have to be: the directories are those of others.

An interrupted publish is run again with the same arguments: what the cache has is not pushed again.`

// publishCommandOptions is the command line of publish.
type publishCommandOptions struct {
	builds, rebuilds []string // directories of results, or manifests in them
	rebuild          string
	rev              string
	out              *regular.Dir
	maxSize          *project.Size
	systems          []matrix.System // that have to be there
	statements       pipelines.Statements
	publish          publishOptions
	projectOptions
	outputOptions
}

func newPublish(process process) *cobra.Command {
	var o publishCommandOptions
	var against rebuildNames
	c := &cobra.Command{
		Use:   "publish BUILD… --against REBUILD…",
		Short: "Publish what other machines have built; build nothing",
		Long:  publishManual,
		RunE: func(c *cobra.Command, args []string) error {
			o.builds, o.rebuilds = against.split(args)
			return runPublish(c.Context(), process.maskSecret(o.publish.secret), o)
		},
	}
	s := c.Flags()
	s.SortFlags = false
	against.flags = s
	s.Var(&against, "against", "results of rebuilds on other machines: all arguments after it")
	s.Var(valueOf(&o.rebuild, enforce, oneOf(enforce, warn, off)), "rebuild", "what a difference between a build and its rebuild does: enforce (exit code 3) or warn; off publishes builds without rebuilds")
	s.StringVar(&o.rev, "rev", "", "commit that the builds must be of (default on GitHub Actions: that of the event)")
	s.Var(listOf(&o.systems, matrix.ParseSystem), "system", "system that a build has to be of; repeatable (default: any)")
	s.Var(valueOf(&o.out, "out", parseDir), "out", "directory for the manifest, the bills of materials and the provenance")
	s.Var(valueOf(&o.maxSize, "64G", func(text string) (*project.Size, error) {
		size, err := project.ParseSize(text)
		return &size, err
	}), "max-size", "maximum size of each directory, and of all NARs")
	s.StringArrayVar(&o.substituters, "substituter", nil, "cache that has what the builds leave out, instead of the project's; repeatable; \"none\" for none")
	s.StringArrayVar(&o.trustedKeys, "trusted-key", nil, "public key of a substituter, instead of the project's; repeatable")
	s.Var(valueOf(&o.statements.Key, "", readProvenanceKey), "provenance-key", "file with the secret key that signs the provenance, as nix-store --generate-binary-cache-key makes it")
	o.outputOptions.register(s)
	o.publish.registerRun(c)
	return c
}

// rebuildNames is the value of --against: its own value, and all arguments after it.
type rebuildNames struct {
	flags *pflag.FlagSet
	names []string
	first int // the number of arguments before the flag
}

func (r *rebuildNames) Set(name string) error {
	if len(r.names) == 0 {
		r.first = r.flags.NArg()
	}
	r.names = append(r.names, name)
	return nil
}

func (r *rebuildNames) String() string { return "" }
func (r *rebuildNames) Type() string   { return "REBUILD" }

// split returns the builds and the rebuilds.
func (r *rebuildNames) split(args []string) (builds, rebuilds []string) {
	if len(r.names) == 0 {
		return args, nil
	}
	return args[:r.first], slices.Concat(r.names, args[r.first:])
}

func runPublish(ctx context.Context, process process, o publishCommandOptions) error {
	reporter := newReporter(process, o.outputOptions)
	m, err := publishBuilds(ctx, process, o, reporter)
	if err = errors.Join(err, reporter.Close()); err == nil && !o.json {
		printOutputs(process.stdout, m)
	}
	return err
}

// publishBuilds reads the results, and publishes them. The manifest is nil if nothing was begun.
func publishBuilds(ctx context.Context, process process, o publishCommandOptions, reporter run.Reporter) (*run.Manifest, error) {
	p, m, err := o.prepare(ctx, process, reporter)
	if err != nil {
		return nil, refused(process.clock(), reporter, err)
	}
	if to, ok := p.Publish.To.(*publish.Cachix); ok {
		defer to.Close()
	}
	of := pinnedRelease{o.publish.cachix, o.publish.url, o.projectOf(m).Substituters, pipelines.CellsOf(m)}
	if err := reportLastRelease(ctx, process, o.outputOptions, of, reporter); err != nil {
		return nil, err
	}
	err = p.Run(ctx, m)
	if end := run.OutcomeOfRun(ctx, err); end == run.OutcomeUnpublished || end == run.OutcomeInterrupted {
		err = hint.Wrap(err, "run the command again: what the cache has is not pushed again")
	}
	return m, err
}

// prepare makes a publication from the options.
func (o *publishCommandOptions) prepare(ctx context.Context, process process, reporter run.Reporter) (*pipelines.Publication, *run.Manifest, error) {
	without, err := process.checkEventPolicy("")
	if err != nil {
		return nil, nil, err
	}
	if err := checkResults(o.out, command{}); err != nil {
		return nil, nil, err
	}
	closure, m, rebuilt, err := o.read()
	if err != nil {
		return nil, nil, err
	}
	for _, system := range o.systems {
		if _, ok := m.Cell(system); !ok {
			return nil, nil, fmt.Errorf("publish: no build is of %s", system)
		}
	}
	of := o.projectOf(m)
	o.apply(&of)
	o.publish.secret = cmp.Or(o.publish.secret, of.SecretEnv)
	if err := o.allowCommit(ctx, process, m); err != nil {
		return nil, nil, err
	}
	if closure.Upstream, err = upstreamOf(of); err != nil {
		return nil, nil, usage(err)
	}
	now := process.clock()
	id := newRunID(now())
	recorder := &run.Recorder{Report: reporter, Now: now}
	evidence := newEvidence(o.out.Sub("differs", id), now)
	p := &pipelines.Publication{
		Recorder: recorder, ID: id, Flake: flakeOf(m), Closure: closure, Rebuilt: rebuilt, WarnOnly: o.rebuild == warn, Evidence: evidence,
		Results: pipelines.Results{Manifest: regular.File{Dir: o.out, Base: "manifest.json"}, Statements: &o.statements, Job: process.job().Page()},
	}
	o.statements.Facts = provenance.Facts{Builder: process.job().Workflow(), Invocation: process.job().RunPage()}
	if p.Publish, err = o.publisher(process, of, id, closure, without); err != nil {
		return nil, nil, err
	}
	p.Publish.Recorder, p.Publish.Evidence = recorder, evidence
	p.Received, err = o.keepManifests(closure)
	return p, m, err
}

// projectOf returns the settings of the flake, if the command line names its cache. Others have written the manifests.
func (o *publishCommandOptions) projectOf(m *run.Manifest) project.Project {
	if p := projectOfManifest(m); p.Cachix != "" && p.Cachix == o.publish.cachix {
		return p
	}
	return *project.Default()
}

// read opens the results, and joins their manifests.
func (o *publishCommandOptions) read() (closure *handover.Closure, built, rebuilt *run.Manifest, err error) {
	switch {
	case len(o.builds) == 0:
		return nil, nil, nil, usage(hint.Wrap(errors.New("publish: no build is named"), "%s", commandLine("publish", "--help")))
	case len(o.rebuilds) == 0 && o.rebuild != off:
		return nil, nil, nil, usage(hint.Wrap(errors.New("publish: no rebuild is named"), "name the results of a second machine: --against REBUILD; or publish without: --rebuild=off"))
	case len(o.rebuilds) > 0 && o.rebuild == off:
		return nil, nil, nil, usage(errors.New("publish: --against and --rebuild=off exclude each other"))
	}
	closure = &handover.Closure{MaxBytes: int64(*o.maxSize)}
	for _, side := range []struct {
		names   []string
		results *[]*handover.Results
	}{{o.builds, &closure.Builds}, {o.rebuilds, &closure.Rebuilds}} {
		for _, name := range side.names {
			r, err := handover.Open(name, closure.MaxBytes)
			if err != nil {
				return nil, nil, nil, err
			}
			if isWithin(r.Name, o.out.Name()) && isWithin(o.out.Name(), r.Name) {
				return nil, nil, nil, usage(fmt.Errorf("publish %s: its directory is that of --out", name))
			}
			*side.results = append(*side.results, r)
		}
	}
	built, rebuilt, err = handover.Join(closure.Builds, closure.Rebuilds)
	return closure, built, rebuilt, err
}

// allowCommit compares the commit of the builds with that of the command line, or else applies the policy for the event.
func (o *publishCommandOptions) allowCommit(ctx context.Context, process process, m *run.Manifest) error {
	if o.rev != "" {
		if m.Source.Rev != o.rev {
			return fmt.Errorf("publish: the builds are of commit %.40q, not of %s", m.Source.Rev, o.rev)
		}
		return nil
	}
	if len(process.secrets.texts()) == 0 {
		return nil
	}
	if process.job().Here() && m.Source.Rev == "" {
		return hint.Wrap(errors.New("publish: the builds name no commit"), "build a commit of a repository")
	}
	return usage(process.job().Trigger().AllowCommit(ctx, m.Source.Rev, func(context.Context, string) (bool, error) {
		return false, hint.Wrap(errors.New("this command starts no git"), "if the workflow has chosen the commit: --rev %s", quote(m.Source.Rev))
	}))
}

// upstreamOf returns the caches that have what the builds leave out.
func upstreamOf(p project.Project) (all []handover.Upstream, err error) {
	keys, err := binarycache.ParsePublicKeys(p.TrustedKeys)
	if err != nil {
		return nil, err
	}
	for _, text := range p.Substituters {
		cache, err := binarycache.OpenURL(text)
		if err != nil {
			return nil, err
		}
		all = append(all, binarycache.Signed{Cache: cache, Keys: keys})
	}
	return all, nil
}

// publisher decides whether to push, and where to.
func (o *publishCommandOptions) publisher(process process, of project.Project, id string, from *handover.Closure, without string) (publish.Publisher, error) {
	p := publish.Publisher{
		ID: id, From: from, Always: o.publish.push == pushAlways, Pins: o.publish.pin, Confirm: true,
		Consent: publish.Consent{Unsandboxed: o.publish.unsandboxed, Different: o.rebuild == warn},
		Timeout: o.publish.timeout, Patience: o.publish.patience,
	}
	to, disabled, err := o.publish.destination(process, of, from, without)
	if p.Disabled = disabled; to != nil {
		p.To, p.Uploads = to, to.UploadLog(o.out, id)
	}
	return p, err
}

// keepManifests copies the manifests of the builds to OUT, so that the provenance can name them by hash.
func (o *publishCommandOptions) keepManifests(c *handover.Closure) (names []string, err error) {
	for kind, side := range map[string][]*handover.Results{"build": c.Builds, "rebuild": c.Rebuilds} {
		for i, r := range side {
			name := path.Join("received", fmt.Sprintf("%s-%d.json", kind, i+1))
			if err := o.out.Write(name, r.Raw); err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}
