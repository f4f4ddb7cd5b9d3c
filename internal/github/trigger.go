package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Trigger is the event that started a run of GitHub Actions.
// https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows
type Trigger struct {
	event string // empty outside of GitHub Actions
	// stranger is why the code may be of somebody without the right to push to the repository; empty if it is not.
	stranger string
	fork     bool     // it is a pull request of a fork, which has no secret
	pull     int      // the number of the pull request; 0 for none
	commits  []string // of the event
}

// trusted are the events that only somebody with the right to push to the repository, or its configuration, can cause.
// For every other event, the payload has to say that it is about a branch of the repository: an event that GitHub adds
// later must not be trusted by default.
var trusted = []string{"push", "create", "release", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group"}

// pullRequests are the events about the head of a pull request. Their payload names the repository of the head.
var pullRequests = []string{"pull_request", "pull_request_review", "pull_request_review_comment"}

// Trigger reads the event of the job. An event that it cannot read counts as a stranger's.
func (j Job) Trigger() Trigger {
	if !j.Here() {
		return Trigger{}
	}
	t := Trigger{event: j.Get("GITHUB_EVENT_NAME")}
	payload, err := readEvent(j.Get("GITHUB_EVENT_PATH"))
	if err != nil {
		t.stranger = err.Error()
		return t
	}
	t.commits = append(t.commits, j.Get("GITHUB_SHA"))
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
		// It has the secrets, even if a stranger started the run before it.
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

// eventPayload is the part of an event's payload that identifies the author of the code.
// https://docs.github.com/webhooks/webhook-events-and-payloads
type eventPayload struct {
	Repository  *eventRepository `json:"repository"`
	PullRequest *struct {
		Number int `json:"number"`
		Head   struct {
			SHA  string           `json:"sha"`
			Repo *eventRepository `json:"repo"` // null if the fork was deleted
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

// maxEvent is larger than any payload: GitHub limits those of webhooks to 25 MB.
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

// pullRef matches references to pull requests, under the names that a checkout may have for them. Anybody who can open a
// pull request chooses their commits.
var pullRef = regexp.MustCompile(`^(?:refs/)?(?:remotes/)?(?:[^/]+/)?pull/(\d+)/`)

// ofAnother reports whether a reference is of another pull request than that of the event.
func (t Trigger) ofAnother(ref string) bool {
	m := pullRef.FindStringSubmatch(ref)
	return m != nil && m[1] != strconv.Itoa(t.pull)
}

// AllowRun decides whether the run may start. Without is why it has no secret, if that is known. A refusal is an error of the
// workflow, not of the build.
func (t Trigger) AllowRun(secret bool, ref string) (without string, err error) {
	switch {
	case t.event == "pull_request_target":
		return "", hint.Wrap(errors.New("run on pull_request_target: refused: it has the secrets in reach of a stranger's code"),
			"start the workflow by pull_request: a fork's run then builds, and has no secret")
	case secret && t.stranger != "":
		return "", hint.Wrap(fmt.Errorf("run on %s with a secret: refused: it is in reach of a stranger's code: %s", t.event, t.stranger),
			"give the secret only to runs of reviewed code")
	case secret && t.event != "" && t.ofAnother(ref):
		return "", hint.Wrap(fmt.Errorf("build %s on %s with a secret: refused: the author of its code is unknown", ref, t.event), ownCode)
	case t.fork:
		return t.stranger + ", and a fork's run gets no secret: it is built only", nil
	}
	return "", nil
}

// Stranger returns why the code of the run may be a stranger's; empty if it is not.
func (t Trigger) Stranger() string { return t.stranger }

// Has reports whether the event is about the commit.
func (t Trigger) Has(commit string) bool { return commit != "" && slices.Contains(t.commits, commit) }

const ownCode = "build a branch, a tag or a commit of the repository"

// AllowCommit decides whether a run with a secret may build a commit: one of the event, or one that a branch or tag of the
// repository leads to. GitHub serves the commits of forks as if they were the repository's own.
func (t Trigger) AllowCommit(ctx context.Context, commit string, reachable func(context.Context, string) (bool, error)) error {
	if t.event == "" || commit == "" || slices.Contains(t.commits, commit) {
		return nil
	}
	ok, err := reachable(ctx, commit)
	if err != nil {
		return fmt.Errorf("find a branch or tag with commit %s: %w", commit, err)
	}
	if !ok {
		return hint.Wrap(fmt.Errorf("build commit %s on %s with a secret: refused: no branch or tag of the repository leads to it", commit, t.event), ownCode)
	}
	return nil
}
