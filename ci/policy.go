package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// trigger is what has started a run of GitHub Actions, as far as it says whose code the run is about.
// https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows
type trigger struct {
	event string // empty outside of GitHub Actions
	// stranger says why the code may be of somebody who may not push to the repository; empty where it is not.
	stranger string
	// fork says that it is a pull request of a fork, which has no secret: that is as it should be.
	fork bool
	pull int // the pull request's number; 0 for none
	// commits are those that the event itself is about.
	commits []string
}

// trusted are the events that only somebody who may push to the repository, or its own configuration, can cause. Every
// other event is a stranger's, unless its payload says that it is about a branch of the repository: an event that
// GitHub adds later must not be trusted by default.
var trusted = []string{"push", "create", "release", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group"}

// pullRequests are the events that are about the head of a pull request, whose payload says which repository has it.
var pullRequests = []string{"pull_request", "pull_request_review", "pull_request_review_comment"}

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
	t.commits = append(t.commits, g.get("GITHUB_SHA"))
	own := payload.Repository.name()
	switch {
	case payload.PullRequest != nil:
		t.pull = payload.PullRequest.Number
		head := payload.PullRequest.Head
		t.commits = append(t.commits, head.SHA)
		if from := head.Repo.name(); !strings.EqualFold(from, own) {
			t.fork, t.stranger = true, "the pull request is of "+from
		} else if !slices.Contains(pullRequests, t.event) {
			t.stranger = "the event does not say whose code it is about"
		}
	case payload.WorkflowRun != nil:
		// It has the secrets, whoever has started the run before it.
		before := payload.WorkflowRun
		if from := before.HeadRepository.name(); !strings.EqualFold(from, own) {
			t.stranger = "the workflow run before it is of " + from
		} else if !slices.Contains(trusted, before.Event) && before.Event != "pull_request" {
			t.stranger = fmt.Sprintf("the workflow run before it was started by %q", before.Event)
		}
	case payload.Issue != nil && payload.Issue.PullRequest != nil:
		t.stranger = "a comment on a pull request does not say whose code that is"
	case !slices.Contains(trusted, t.event):
		t.stranger = "the event does not say whose code it is about"
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
			SHA  string           `json:"sha"`
			Repo *eventRepository `json:"repo"` // null where the fork is gone
		} `json:"head"`
	} `json:"pull_request"`
	WorkflowRun *struct {
		Event          string           `json:"event"`
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
	data, err := regular.Read(file, maxEvent)
	if err == nil {
		err = json.Unmarshal(data, &payload)
	}
	if err != nil {
		return payload, fmt.Errorf("the event cannot be read: %v", err)
	}
	if payload.Repository == nil {
		return payload, errors.New("the event does not say which repository it is about")
	}
	return payload, nil
}

// pullRef is a reference that anybody who can open a pull request can make point to his own code, under the names that
// a checkout may have for it.
var pullRef = regexp.MustCompile(`^(?:refs/)?(?:remotes/)?(?:[^/]+/)?pull/(\d+)/`)

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

// allows says whether the run may build a commit with a secret: one that the event is about, or one that a branch or tag
// of the repository leads to. A forge serves the commits of forks as if they were the repository's own.
func (t trigger) allows(ctx context.Context, commit string, reachable func(context.Context, string) (bool, error)) error {
	if t.event == "" || commit == "" || slices.Contains(t.commits, commit) {
		return nil
	}
	ok, err := reachable(ctx, commit)
	if err != nil {
		return fmt.Errorf("find out whose code commit %s is: %w", commit, err)
	}
	if !ok {
		return hint.Wrap(fmt.Errorf("build commit %s on %s with a secret: refused: no branch or tag of the repository leads to it", commit, t.event),
			"build a branch, a tag or a commit of the repository")
	}
	return nil
}

// guardedSource is a source whose commit has to be one that a run with a secret may build.
type guardedSource struct {
	*flake.Snapshotter
	trigger trigger
}

// Snapshot takes the snapshot, and refuses one of a commit that the policy does not allow.
func (g guardedSource) Snapshot(ctx context.Context) (run.Snapshot, error) {
	s, err := g.Snapshotter.Snapshot(ctx)
	if err != nil {
		return s, err
	}
	return s, usage(g.trigger.allows(ctx, s.Rev, g.Reachable))
}

// checkEventPolicy holds a run to the policy for the event that has started it. The error is one of usage.
func (sys process) checkEventPolicy(ref string) (without string, err error) {
	without, err = readTrigger(github{sys.environ}).allow(len(sys.secrets.texts()) > 0, ref)
	return without, usage(err)
}
