package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// trigger is what has started a run of GitHub Actions, as far as it says whose code the run is about.
// https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows
type trigger struct {
	event string // empty where the run was started by nobody but a person
	// stranger says why the code may be of somebody who may not push to the repository; empty where it is not.
	stranger string
	// fork says that it is a pull request of a fork, which has no secret: that is as it should be.
	fork bool
	pull int // the pull request's number; 0 for none
}

// readTrigger reads the event that GitHub has left for the job. What it cannot read it takes for a stranger's.
func readTrigger(g github) trigger {
	if !g.here() {
		return trigger{}
	}
	t := trigger{event: g.get("GITHUB_EVENT_NAME")}
	payload, err := readEvent(g.get("GITHUB_EVENT_PATH"))
	if err != nil {
		t.stranger = err.Error()
		return t
	}
	switch {
	case payload.PullRequest != nil:
		t.pull = payload.PullRequest.Number
		if from := payload.PullRequest.Head.Repo.name(); !strings.EqualFold(from, payload.Repository.name()) {
			t.fork, t.stranger = true, "the pull request is of "+from
		}
	case payload.WorkflowRun != nil:
		// It has the secrets, whoever has started the run before it.
		if from := payload.WorkflowRun.HeadRepository.name(); !strings.EqualFold(from, payload.Repository.name()) {
			t.stranger = "the workflow run before it is of " + from
		}
	case payload.Issue != nil && payload.Issue.PullRequest != nil:
		t.stranger = "a comment on a pull request does not say whose code that is"
	}
	return t
}

// eventPayload is the part of an event's payload that says whose code it is about.
// https://docs.github.com/webhooks/webhook-events-and-payloads
type eventPayload struct {
	Repository  *eventRepository `json:"repository"`
	PullRequest *struct {
		Number int `json:"number"`
		Head   struct {
			Repo *eventRepository `json:"repo"` // null where the fork is gone
		} `json:"head"`
	} `json:"pull_request"`
	WorkflowRun *struct {
		HeadRepository *eventRepository `json:"head_repository"`
	} `json:"workflow_run"`
	Issue *struct {
		PullRequest *struct{} `json:"pull_request"`
	} `json:"issue"`
}

type eventRepository struct {
	FullName string `json:"full_name"`
}

func (r *eventRepository) name() string {
	if r == nil || r.FullName == "" {
		return "a repository that is gone"
	}
	return r.FullName
}

// maxEvent is more than any payload: a webhook's is cut at 25 MB.
const maxEvent = 32 << 20

func readEvent(file string) (eventPayload, error) {
	var payload eventPayload
	f, err := os.Open(file)
	if err != nil {
		return payload, fmt.Errorf("the event cannot be read: %v", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxEvent)).Decode(&payload); err != nil {
		return payload, fmt.Errorf("the event cannot be read: %v", err)
	}
	if payload.Repository == nil {
		return payload, errors.New("the event does not say which repository it is about")
	}
	return payload, nil
}

// pullRef is a reference that anybody who can open a pull request can make point to his own code.
var pullRef = regexp.MustCompile(`^(?:refs/)?pull/(\d+)/`)

// ofAnother says whether a reference is that of another pull request than the one that the run is about.
func (t trigger) ofAnother(ref string) bool {
	m := pullRef.FindStringSubmatch(ref)
	return m != nil && m[1] != strconv.Itoa(t.pull)
}

// allow says whether the run may go on, and if so, why it has no secret; empty where there is nothing to say of that.
// What it refuses is no failure of the build: the workflow is not to be written so.
func (t trigger) allow(secret bool, ref string) (without string, err error) {
	switch {
	case t.event == "pull_request_target":
		return "", hint.Wrap(errors.New("run on pull_request_target: refused: it has the secrets in reach of a stranger's code"),
			"start the workflow by pull_request: a fork's run then builds, and has no secret")
	case secret && t.stranger != "":
		return "", hint.Wrap(fmt.Errorf("run on %s with a secret: refused: it is in reach of a stranger's code: %s", t.event, t.stranger),
			"give the secret to no run of code that was not reviewed")
	case secret && t.event != "" && t.ofAnother(ref):
		return "", hint.Wrap(fmt.Errorf("build %s on %s with a secret: refused: whose code that is cannot be told", ref, t.event),
			"build a branch, a tag or a commit of the repository")
	case t.fork:
		return t.stranger + ", and a fork's run gets no secret: it is built only", nil
	}
	return "", nil
}

// allow holds a run to the policy for the event that has started it. The error is one of usage.
func (sys system) allow(ref string) (without string, err error) {
	without, err = readTrigger(github{sys.environ}).allow(len(sys.secrets.texts()) > 0, ref)
	return without, usage(err)
}
