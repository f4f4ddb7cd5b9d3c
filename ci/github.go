package main

import (
	"context"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/github"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func (process process) job() github.Job { return github.Job(process.environ) }

// stepFiles returns a reporter that writes outputs and the summary of the step. Without summary, the command report writes it.
func stepFiles(job github.Job, log io.Writer, summary bool) *report.StepFiles {
	o := report.StepOptions{Output: job.Get("GITHUB_OUTPUT"), Run: job.RunPage()}
	if summary {
		o.Summary = job.Get("GITHUB_STEP_SUMMARY")
	}
	return report.NewStepFiles(log, o)
}

// maskSecret removes one more secret variable from the environment. On GitHub Actions it masks all secrets in the log.
func (process process) maskSecret(name string) process {
	process.environ = process.secrets.extract(name, process.environ)
	if process.job().Here() {
		_ = report.Mask(process.stderr, process.secrets.texts()) // if this fails, the log cannot be written at all
	}
	return process
}

// guardedSource is a source for a run with a secret. It refuses commits that such a run may not build.
type guardedSource struct {
	*flake.Snapshotter
	trigger github.Trigger
}

func (g guardedSource) Snapshot(ctx context.Context) (run.Snapshot, error) {
	s, err := g.Snapshotter.Snapshot(ctx)
	if err != nil {
		return s, err
	}
	return s, usage(g.trigger.AllowCommit(ctx, s.Rev, g.Reachable))
}

// checkEventPolicy applies the policy for the event that started the run.
func (process process) checkEventPolicy(ref string) (without string, err error) {
	without, err = process.job().Trigger().AllowRun(len(process.secrets.texts()) > 0, ref)
	return without, usage(err)
}
