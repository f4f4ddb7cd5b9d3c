// Package github reads the variables that GitHub Actions sets for a step of a job, and decides by the event whether a
// run may start.
package github

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
)

// Job is the environment of a step of a job. See docs.github.com on default environment variables.
type Job []string

// Get returns the value of a variable.
func (j Job) Get(name string) string {
	value, _ := child.Lookup(j, name)
	return value
}

// Here reports whether the process runs in a job.
func (j Job) Here() bool { return j.Get("GITHUB_ACTIONS") == "true" }

func (j Job) runs() string {
	return j.Get("GITHUB_SERVER_URL") + "/" + j.Get("GITHUB_REPOSITORY") + "/actions/runs/" + j.Get("GITHUB_RUN_ID")
}

// RunPage returns the web page of the run of the job; empty elsewhere.
func (j Job) RunPage() string {
	if !j.Here() {
		return ""
	}
	return fmt.Sprintf("%s/attempts/%s", j.runs(), j.Get("GITHUB_RUN_ATTEMPT"))
}

// numberVariable is the variable in which a workflow passes job.check_run_id: GitHub does not set one for a step.
const numberVariable = "CHECK_RUN_ID"

// Page returns the web page of the job, or of the run if the job's number is unknown; empty elsewhere.
func (j Job) Page() string {
	id := j.Get(numberVariable)
	if !j.Here() || id == "" || strings.Trim(id, "0123456789") != "" {
		return j.RunPage()
	}
	return j.runs() + "/job/" + id
}

// Workflow returns the URI of the workflow's file; empty elsewhere.
func (j Job) Workflow() string {
	if ref := j.Get("GITHUB_WORKFLOW_REF"); j.Here() && ref != "" {
		return j.Get("GITHUB_SERVER_URL") + "/" + ref
	}
	return ""
}
