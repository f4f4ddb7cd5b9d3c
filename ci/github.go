package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

// jobVariable names the variable by which a workflow passes on job.check_run_id, which GitHub gives to no step by itself.
const jobVariable = "CHECK_RUN_ID"

// github is the environment that a job of GitHub Actions gives to its steps. See docs.github.com on default environment
// variables.
type github struct{ environment }

// here reports whether the process runs in a job.
func (g github) here() bool { return g.get("GITHUB_ACTIONS") == "true" }

// repository is the web page of the caller's repository.
func (g github) repository() string {
	return g.get("GITHUB_SERVER_URL") + "/" + g.get("GITHUB_REPOSITORY")
}

// run is the web page of the run of the job; empty elsewhere.
func (g github) run() string {
	if !g.here() {
		return ""
	}
	return fmt.Sprintf("%s/actions/runs/%s/attempts/%s", g.repository(), g.get("GITHUB_RUN_ID"), g.get("GITHUB_RUN_ATTEMPT"))
}

// job is the web page of the job itself, or that of the run where its number is not known; empty elsewhere.
func (g github) job() string {
	id := g.get(jobVariable)
	if !g.here() || id == "" || strings.Trim(id, "0123456789") != "" {
		return g.run()
	}
	return fmt.Sprintf("%s/actions/runs/%s/job/%s", g.repository(), g.get("GITHUB_RUN_ID"), id)
}

// workflow is the URI of the workflow's file; empty elsewhere.
func (g github) workflow() string {
	if ref := g.get("GITHUB_WORKFLOW_REF"); g.here() && ref != "" {
		return g.get("GITHUB_SERVER_URL") + "/" + ref
	}
	return ""
}

// stepFiles returns a reporter that writes outputs and the summary of the step. Without summary, the command report has it.
func (g github) stepFiles(log io.Writer, summary bool) *report.StepFiles {
	o := report.StepOptions{Output: g.get("GITHUB_OUTPUT"), Run: g.run()}
	if summary {
		o.Summary = g.get("GITHUB_STEP_SUMMARY")
	}
	return report.NewStepFiles(log, o)
}

// maskSecret removes one more secret variable from the environment. On GitHub Actions it masks the values of all secrets
// before they are used.
func (sys process) maskSecret(name string) process {
	sys.environ = sys.secrets.extract(name, sys.environ)
	if (github{sys.environ}).here() {
		// If writing fails, the log has no secrets either.
		_ = report.Mask(sys.stderr, sys.secrets.texts())
	}
	return sys
}
