package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

const reportManual = `Join the manifests of runs of one system each, pin what they published, and report all of it.

This is the last job of a release with one job for each system: each job runs release --system SYSTEM
--pin=false, and then report runs. The pins make the release: pushed paths have no effect before they have a name.
So nothing is pinned unless each system has a manifest, is good and is published. --cachix has to name the cache if
that is not the project's.

The manifests have to have the same source, command and settings, and different systems. A system without a manifest
is a failure. The exit code is that of the most severe run. On GitHub Actions the outputs and the summary of the step
are about all systems: see docs/github-actions.md.`

// reportOptions is the command line of report.
type reportOptions struct {
	manifests []string
	selection // systems that need a manifest
	out       regular.File
	pin       bool
	result    string // of the jobs that wrote the manifests; empty if unknown
	publish   publishOptions
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

func newReport(process process) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report MANIFEST…",
		Short: "Join the manifests of several runs into one, pin the release, and report it",
		Long:  reportManual,
		RunE: func(c *cobra.Command, args []string) error {
			o.manifests = args
			return runReport(c.Context(), process.maskSecret(o.publish.secret), o)
		},
	}
	s := c.Flags()
	s.SortFlags = false
	s.Var(valueOf(&o.out, "manifest.json", parseFile), "out", "file to write the joined manifest to")
	s.BoolVar(&o.pin, "pin", true, "pin the outputs of a release when all systems are good and published")
	s.Var(valueOf(&o.result, "", oneOf(jobSuccess, jobFailure, jobCancelled, jobSkipped)), "jobs-result", "result of the build jobs on GitHub: success, failure, cancelled or skipped")
	o.registerSystems(s, "system that needs a manifest; repeatable (default: x86_64-linux and aarch64-linux)")
	o.outputOptions.register(s)
	o.publish.register(c)
	return c
}

func parseFile(name string) (regular.File, error) {
	return regular.File{Dir: regular.AnyDir(filepath.Dir(name)), Base: filepath.Base(name)}, nil
}

func runReport(ctx context.Context, process process, o reportOptions) error {
	reporter := newReporter(process, o.outputOptions)
	m, err := concludeRelease(ctx, process, o, reporter)
	if err = errors.Join(err, reporter.Close()); m != nil && !o.json {
		printOutputs(process.stdout, m)
	}
	return err
}

// concludeRelease joins, pins and reports. The manifest is nil if there are no manifests.
func concludeRelease(ctx context.Context, process process, o reportOptions, reporter run.Reporter) (*run.Manifest, error) {
	now := process.clock()
	if _, err := process.checkEventPolicy(""); err != nil {
		return nil, refused(now, reporter, err)
	}
	found, m, err := o.join()
	if err != nil {
		return nil, refused(now, reporter, err)
	}
	cells := o.cellsOf(m)
	p := projectOfManifest(m)
	o.publish.secret = cmp.Or(o.publish.secret, p.SecretEnv)
	pinned := pinnedRelease{o.publish.cacheName(p), o.publish.url, p.Substituters, cells}
	if err := o.agreed(ctx, process, found, m); err != nil {
		return nil, refused(now, reporter, err)
	}
	if err := reportLastRelease(ctx, process, o.outputOptions, pinned, reporter); err != nil {
		return nil, err
	}
	recorder := &run.Recorder{Report: reporter, Now: now}
	publisher, pinErr := o.publisher(process, m)
	publisher.Recorder = recorder
	if to, ok := publisher.To.(*publish.Cachix); ok {
		defer to.Close()
	}
	r := pipelines.Report{
		Recorder: recorder, Flake: flakeOf(m), Cells: cells, Publish: publisher, Results: pipelines.Results{Manifest: o.out},
		Missing: o.missing(), Failure: errors.Join(o.unexplained(m), pinErr),
	}
	for _, l := range found {
		l.printLogTails(now(), reporter)
	}
	return m, r.Run(ctx, m)
}

// left is the manifest of a job, in the directory of its results.
type left struct {
	file     string
	manifest *run.Manifest
}

// join reads the manifests and joins them. The result is nil if there are none.
func (o *reportOptions) join() (found []left, joined *run.Manifest, err error) {
	var all []*run.Manifest
	for _, file := range o.manifests {
		m, err := run.ReadManifest(file)
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(file, "*") {
			continue // a shell does not replace a pattern that matches no file
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

// cellsOf returns a cell for each system that needs a manifest, with the packages of the first manifest.
func (o *reportOptions) cellsOf(m *run.Manifest) []matrix.Cell {
	packages := projectOfManifest(m).Packages
	if m != nil && len(m.Cells) > 0 {
		packages = nil
		for _, p := range m.Cells[0].Packages {
			packages = append(packages, p.Package)
		}
	}
	return o.cells(packages)
}

// missing returns the error of a system without a manifest.
func (o *reportOptions) missing() map[matrix.System]error {
	reason := &run.OutcomeError{Text: "no manifest: its job was lost, or failed before it wrote one", End: run.OutcomeFailed}
	switch o.result {
	case jobCancelled:
		reason = &run.OutcomeError{Text: "no manifest: its job was cancelled", End: run.OutcomeInterrupted}
	case jobSkipped:
		reason.Text = "no manifest: its job was skipped"
	}
	all := map[matrix.System]error{}
	for _, system := range o.systems {
		all[system] = reason
	}
	return all
}

// unexplained returns an error if the jobs did not succeed, although all their manifests are good.
func (o *reportOptions) unexplained(m *run.Manifest) error {
	switch {
	case o.result == "" || o.result == jobSuccess || m == nil || m.Outcome != run.OutcomeGood || len(m.Cells) < len(o.systems):
		return nil
	case o.result == jobCancelled:
		return &run.OutcomeError{Text: "the jobs that build were cancelled", End: run.OutcomeInterrupted}
	}
	return hint.Wrap(fmt.Errorf("the result of the jobs that build is %s, although their manifests are good", o.result), "look at their logs")
}

// wantsPin reports whether there is a release to pin. If a job did not succeed, there is none.
func (o *reportOptions) wantsPin(m *run.Manifest) bool {
	return o.pin && m != nil && isPinned(m.Command) && (o.result == "" || o.result == jobSuccess)
}

// agreed checks that the manifests may choose what is pinned, if there is something to pin and a secret.
func (o *reportOptions) agreed(ctx context.Context, process process, found []left, m *run.Manifest) error {
	if credential, err := process.secrets.credential(o.publish.secret); err != nil || credential.IsZero() || !o.wantsPin(m) {
		return nil
	}
	for _, l := range found {
		if err := cmp.Or(agreeTo(o.publish.cacheName(projectOfManifest(m)), cachesOf(l.manifest), l.file), checkManifest(ctx, process, l.file)); err != nil {
			return err
		}
	}
	return nil
}

// publisher returns a publisher that pins, if there is a release to pin. A secret is required if something was pushed.
func (o *reportOptions) publisher(process process, m *run.Manifest) (publish.Publisher, error) {
	if !o.wantsPin(m) {
		return publish.Publisher{}, nil
	}
	of := projectOfManifest(m)
	name, published := o.publish.cacheName(of), slices.ContainsFunc(m.Cells, isPublished)
	if name == "" && published {
		return publish.Publisher{}, usage(hint.Wrap(errors.New("pin outputs: no Cachix cache is named"),
			"name the one that they were pushed to: --cachix NAME; or leave the pins out: --pin=false"))
	}
	credential, err := process.credential(o.publish, name, published)
	if err != nil {
		return publish.Publisher{}, hint.Wrap(err, "to pin what was pushed, give the secret to this job too; or leave the pins out: --pin=false")
	}
	if credential.IsZero() || name == "" {
		return publish.Publisher{}, nil
	}
	to, err := newCachix(o.publish, name, credential, of, nil)
	if err != nil {
		return publish.Publisher{}, usage(err)
	}
	return publish.Publisher{ID: "report", To: to, Pins: true, Timeout: o.publish.timeout}, nil
}

func isPublished(c run.CellResult) bool {
	return c.Publish != nil && c.Publish.Verdict == run.Published
}

// projectOfManifest returns the project of the flake that a run built. Anyone may have written the manifest, so it chooses
// only between settings of this program.
func projectOfManifest(m *run.Manifest) project.Project {
	if m == nil {
		return defaultProject
	}
	return projectOf(m.Source.URL)
}

func flakeOf(m *run.Manifest) string {
	if m == nil {
		return "an unknown flake"
	}
	return m.Source.URL
}
