package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const reportManual = `Join the manifests of runs of one system each, pin what they published, and report all of it.

This is the last job of a release whose systems have jobs of their own: each job runs release --system SYSTEM
--pin=false, and then report runs. The pins make the release: pushed paths have no effect before they have a name.
So nothing is pinned unless each system has a manifest, is good and is published. --cachix has to name the cache if
that is not the project's.

The manifests have to have the same source, command and settings, and different systems. A system without a manifest
is a failure. The exit code is that of the most severe run. On GitHub Actions the outputs and the summary of the step
are about all systems: see docs/github-actions.md.`

// reportOptions is the command line of report.
type reportOptions struct {
	manifests []string
	out       string
	pin       bool
	// result is what GitHub says of the jobs that have left the manifests; empty where nothing is known of them.
	result  string
	publish publishOptions
	systems []matrix.System
	outputOptions
}

// The results of a job that others need: the values of needs.JOB.result.
// https://docs.github.com/actions/reference/workflows-and-actions/contexts#needs-context
const (
	jobSuccess   = "success"
	jobFailure   = "failure"
	jobCancelled = "cancelled"
	jobSkipped   = "skipped"
)

func newReport(sys process) *cobra.Command {
	var o reportOptions
	var systems []string
	c := &cobra.Command{
		Use:   "report MANIFEST…",
		Short: "Join the manifests of several runs into one, pin the release, and report it",
		Long:  reportManual,
		RunE: func(c *cobra.Command, args []string) error {
			o.manifests = args
			if err := errors.Join(o.publish.check(), o.parse(systems)); err != nil {
				return usage(err)
			}
			return runReport(c.Context(), sys.maskSecret(o.publish.secret), o)
		},
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringVar(&o.out, "out", "manifest.json", "file to write the joined manifest to")
	s.BoolVar(&o.pin, "pin", true, "pin the outputs of a release when all systems are good and published")
	s.StringVar(&o.result, "jobs-result", "", "result of the build jobs on GitHub: success, failure, cancelled or skipped")
	s.StringArrayVar(&systems, "system", nil, "system that needs a manifest; repeatable (default: all)")
	o.outputOptions.register(s)
	o.publish.register(c)
	return c
}

func (o *reportOptions) parse(systems []string) error {
	if !slices.Contains([]string{"", jobSuccess, jobFailure, jobCancelled, jobSkipped}, o.result) {
		return fmt.Errorf("parse --jobs-result %q: want %s, %s, %s or %s", o.result, jobSuccess, jobFailure, jobCancelled, jobSkipped)
	}
	o.systems = matrix.Systems()
	if len(systems) > 0 {
		o.systems = nil
	}
	for _, text := range systems {
		system, err := matrix.ParseSystem(text)
		if err != nil {
			return err
		}
		o.systems = append(o.systems, system)
	}
	return nil
}

func runReport(ctx context.Context, sys process, o reportOptions) error {
	reporter := newReporter(sys, o.outputOptions)
	m, err := concludeRelease(ctx, sys, o, reporter)
	if err = errors.Join(err, reporter.Close()); m != nil && !o.json {
		printOutputs(sys.stdout, m)
	}
	return err
}

// concludeRelease joins, pins and reports. The manifest is nil where nothing could be joined.
func concludeRelease(ctx context.Context, sys process, o reportOptions, reporter run.Reporter) (*run.Manifest, error) {
	now := sys.clock()
	if _, err := sys.checkEventPolicy(""); err != nil {
		refused(now(), reporter, err)
		return nil, err
	}
	found, m, err := o.join()
	if err != nil {
		refused(now(), reporter, err)
		return nil, err
	}
	cells := o.cells(m)
	all := options{
		project: defaultProject, cells: cells, publish: o.publish, outputOptions: o.outputOptions,
	}
	if err := o.agreed(ctx, sys, found, m); err != nil {
		refused(now(), reporter, err)
		return nil, err
	}
	if err := reportLastRelease(ctx, sys, all, reporter); err != nil {
		return nil, err
	}
	recorder := &run.Recorder{Report: reporter, Now: now}
	publisher, pinErr := o.publisher(sys, all, m)
	publisher.Recorder = recorder
	if to, ok := publisher.To.(*publish.Cachix); ok {
		defer to.Close()
	}
	r := pipelines.Release{
		ID: "report", Flake: flakeOf(m), Cells: cells, Publish: publisher, Recorder: recorder,
		ManifestFile: regular.File{Dir: regular.AnyDir(filepath.Dir(o.out)), Base: filepath.Base(o.out)},
	}
	for _, l := range found {
		l.printLogTails(now(), reporter)
	}
	return m, r.Conclude(ctx, m, o.missing(), errors.Join(o.unexplained(m), pinErr))
}

// left is a manifest as a job has left it, in a file of the directory of its results.
type left struct {
	file     string
	manifest *run.Manifest
}

// join reads the manifests and makes one of them; nil where there is none at all.
func (o *reportOptions) join() (found []left, joined *run.Manifest, err error) {
	var all []*run.Manifest
	for _, file := range o.manifests {
		m, err := run.ReadManifest(file)
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(file, "*") {
			continue // a shell leaves a pattern as it is where nothing is like it
		}
		if err != nil {
			return nil, nil, err
		}
		found, all = append(found, left{file, m}), append(all, m)
	}
	if len(all) == 0 {
		return nil, nil, nil
	}
	joined, err = run.Join(all)
	return found, joined, usage(err)
}

// cells are those that there have to be. The packages of a lost one are those of the others.
func (o *reportOptions) cells(m *run.Manifest) []matrix.Cell {
	packages := defaultProject.Packages
	if m != nil && len(m.Cells) > 0 {
		packages = nil
		for _, p := range m.Cells[0].Packages {
			packages = append(packages, p.Package)
		}
	}
	return matrix.Expand(o.systems, packages)
}

// missing says what has become of a system without a manifest.
func (o *reportOptions) missing() map[matrix.System]error {
	why := &run.OutcomeError{Text: "no manifest: its job was lost, or failed before it had anything to say", End: run.OutcomeFailed}
	switch o.result {
	case jobCancelled:
		why = &run.OutcomeError{Text: "no manifest: its job was cancelled", End: run.OutcomeInterrupted}
	case jobSkipped:
		why.Text = "no manifest: its job was skipped"
	}
	all := map[matrix.System]error{}
	for _, system := range o.systems {
		all[system] = why
	}
	return all
}

// unexplained is for jobs that have not succeeded, while all that they have left behind says that they have.
func (o *reportOptions) unexplained(m *run.Manifest) error {
	switch {
	case o.result == "" || o.result == jobSuccess || m == nil || m.Outcome != run.OutcomeGood || len(m.Cells) < len(o.systems):
		return nil
	case o.result == jobCancelled:
		return &run.OutcomeError{Text: "the jobs that build were cancelled", End: run.OutcomeInterrupted}
	}
	return hint.Wrap(fmt.Errorf("the result of the jobs that build is %s, though what they have built is good", o.result), "look at their logs")
}

// wantsPin says whether there is a release to pin: one that was not to be pinned is one whose jobs did not all succeed.
func (o *reportOptions) wantsPin(m *run.Manifest) bool {
	return o.pin && m != nil && isPinned(m.Command) && (o.result == "" || o.result == jobSuccess)
}

// agreed says whether what the manifests name may be pinned, where it is to be and can be.
func (o *reportOptions) agreed(ctx context.Context, sys process, found []left, m *run.Manifest) error {
	if credential, err := sys.secrets.credential(o.publish.secret); err != nil || credential.IsZero() || !o.wantsPin(m) {
		return nil
	}
	for _, l := range found {
		err := o.publish.agreeTo(cachesOf(l.manifest), l.file)
		if err == nil {
			err = checkManifest(ctx, sys, l.file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// publisher returns a publisher that pins, if there is a release to pin and a credential.
func (o *reportOptions) publisher(sys process, all options, m *run.Manifest) (publish.Publisher, error) {
	if !o.wantsPin(m) {
		return publish.Publisher{}, nil
	}
	name := all.publish.cacheName(all.project)
	credential, err := sys.secrets.credential(o.publish.secret)
	if err == nil && credential.IsZero() && slices.ContainsFunc(m.Cells, isPublished) {
		err = hint.Wrap(errNoSecret(o.publish.secret), "what was pushed is to be pinned: give the secret to this job, too, or --pin=false")
	}
	if err != nil {
		return publish.Publisher{}, &publish.Error{Cache: name, Err: err}
	}
	if credential.IsZero() || name == "" {
		return publish.Publisher{}, nil
	}
	to, err := newCachix(o.publish, name, credential, all.project, nil)
	if err != nil {
		return publish.Publisher{}, usage(err)
	}
	return publish.Publisher{ID: "report", To: to, Pins: true, Timeout: o.publish.timeout}, nil
}

func isPublished(c run.CellResult) bool {
	return c.Publish != nil && c.Publish.Verdict == run.Published
}

func flakeOf(m *run.Manifest) string {
	if m == nil {
		return "a flake of which nothing is known"
	}
	return m.Source.URL
}
