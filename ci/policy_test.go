package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicyForEachEvent(t *testing.T) {
	const own = `"repository": {"full_name": "a/b"}`
	pull := func(head string) string {
		return `{` + own + `, "pull_request": {"number": 7, "head": {"repo": ` + head + `}}}`
	}
	same, fork := pull(`{"full_name": "A/B"}`), pull(`{"full_name": "c/b", "fork": true}`)
	const (
		goes    = ""
		says    = "says"
		refuses = "refuses"
	)
	for name, test := range map[string]struct {
		event, payload, ref string
		with, without       string // results of a run with and without a secret
		text                string
	}{
		"no event at all":                     {"", "", "", goes, goes, ""},
		"a push":                              {"push", `{` + own + `}`, "", goes, goes, ""},
		"a push, of a branch":                 {"push", `{` + own + `}`, "main", goes, goes, ""},
		"by hand":                             {"workflow_dispatch", `{` + own + `}`, "v1", goes, goes, ""},
		"a schedule":                          {"schedule", `{` + own + `}`, "", goes, goes, ""},
		"the merge queue":                     {"merge_group", `{` + own + `}`, "", goes, goes, ""},
		"by hand, a pull request's head":      {"workflow_dispatch", `{` + own + `}`, "refs/pull/7/head", refuses, goes, "the author of its code is unknown"},
		"a pull request":                      {"pull_request", same, "", goes, goes, ""},
		"a pull request, itself":              {"pull_request", same, "refs/pull/7/merge", goes, goes, ""},
		"a pull request, another one":         {"pull_request", same, "pull/8/head", refuses, goes, "the author of its code is unknown"},
		"a fork's":                            {"pull_request", fork, "", refuses, says, "c/b"},
		"a fork's, that is gone":              {"pull_request", pull("null"), "", refuses, says, "gone"},
		"a review of a fork's":                {"pull_request_review", fork, "", refuses, says, "c/b"},
		"a target":                            {"pull_request_target", same, "", refuses, refuses, "pull_request_target"},
		"a fork's target":                     {"pull_request_target", fork, "", refuses, refuses, "pull_request_target"},
		"a run after that of a push":          {"workflow_run", `{` + own + `, "workflow_run": {"event": "push", "head_repository": {"full_name": "a/b"}}}`, "", goes, goes, ""},
		"a run after that of a fork":          {"workflow_run", `{` + own + `, "workflow_run": {"event": "pull_request", "head_repository": {"full_name": "c/b"}}}`, "", refuses, goes, "c/b"},
		"a run after that of a target":        {"workflow_run", `{` + own + `, "workflow_run": {"event": "pull_request_target", "head_repository": {"full_name": "a/b"}}}`, "", refuses, goes, "pull_request_target"},
		"a run after one that is not known":   {"workflow_run", `{` + own + `, "workflow_run": {"head_repository": {"full_name": "a/b"}}}`, "", refuses, goes, "was started by"},
		"a check":                             {"check_run", `{` + own + `}`, "", refuses, goes, "whose code"},
		"a suite of checks":                   {"check_suite", `{` + own + `}`, "", refuses, goes, "whose code"},
		"a status":                            {"status", `{` + own + `}`, "", refuses, goes, "whose code"},
		"a deployment's status":               {"deployment_status", `{` + own + `}`, "", refuses, goes, "whose code"},
		"an event that is not known yet":      {"pull_request_merged", same, "", refuses, goes, "whose code"},
		"a release":                           {"release", `{` + own + `}`, "", goes, goes, ""},
		"by hand, a pull request, as fetched": {"workflow_dispatch", `{` + own + `}`, "origin/pull/7/head", refuses, goes, "the author of its code is unknown"},
		"the same, by its full name":          {"workflow_dispatch", `{` + own + `}`, "refs/remotes/origin/pull/7/merge", refuses, goes, "the author of its code is unknown"},
		"a comment on a pull request":         {"issue_comment", `{` + own + `, "issue": {"pull_request": {}}}`, "", refuses, goes, "comment"},
		"a comment on an issue":               {"issue_comment", `{` + own + `, "issue": {}}`, "", refuses, goes, "whose code"},
		"an invalid payload":                  {"pull_request", `{`, "", refuses, goes, "cannot be read"},
		"an empty payload":                    {"push", `{}`, "", refuses, goes, "does not say"},
		"a payload that is not there":         {"push", "", "", refuses, goes, "cannot be read"},
		"a target whose payload is not there": {"pull_request_target", "", "", refuses, refuses, "pull_request_target"},
	} {
		for secret, want := range map[string]string{"": test.without, "a-token-of-someone": test.with} {
			t.Run(name+" "+map[bool]string{true: "with a secret", false: "without"}[secret != ""], func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "event.json")
				if test.payload != "" {
					if err := os.WriteFile(file, []byte(test.payload), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				process := process{secrets: secrets{tokenVariable: secret}, environ: []string{"GITHUB_EVENT_PATH=" + file}}
				if test.event != "" {
					process.environ = append(process.environ, "GITHUB_ACTIONS=true", "GITHUB_EVENT_NAME="+test.event)
				}
				text, err := process.checkEventPolicy(test.ref)
				got := goes
				switch {
				case err != nil:
					got, text = refuses, err.Error()
				case text != "":
					got = says
				}
				if got != want || got != goes && !strings.Contains(text, test.text) {
					t.Errorf("it %s %q, want that it %s %q", got, text, want, test.text)
				}
				if usage := (usageError{}); err != nil && !errors.As(err, &usage) {
					t.Errorf("%v is not a usage error", err)
				}
			})
		}
	}
}

// The policy applies to every command that runs a flake's code, or can push.
func TestPolicyAppliesToEveryCommand(t *testing.T) {
	for _, args := range [][]string{
		{"release", "example"},
		{"warm", "example"},
		{"build", "example"},
		{"check", "example"},
		{"init", "."},
		{"plan", "example"},
		{"report"},
		{"push", "--resume"},
		{"pin", "manifest.json"},
		{"publish", "build", "--against", "rebuild"},
	} {
		j := newJob(t, pulled("pull_request_target", callersRepository, true))
		if code := j.run(t, args...); code != exitUsage || !strings.Contains(j.stderr.String(), "run on pull_request_target: refused") {
			t.Errorf("%v: exit code %d\n%s", args, code, &j.stderr)
		}
		j.checkMasked(t, args[0])
	}
}

// A run with a secret refuses a commit that no branch or tag of the repository leads to.
func TestPolicyRefusesCommitOfAFork(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch=main")
	writeTest(t, filepath.Join(dir, "flake.nix"), "{ outputs = _: { }; }")
	git("add", ".")
	git("commit", "--quiet", "--message=own")
	git("checkout", "--quiet", "--detach")
	git("commit", "--quiet", "--allow-empty", "--message=theirs")
	commit := git("rev-parse", "HEAD")

	j := newJob(t, pushed("refs/heads/main"))
	code := j.run(t, "build", dir, "--engine", "host", "--since", "none") // which asks Cachix
	if code != exitUsage || !strings.Contains(j.stderr.String(), "build commit "+commit+" on push with a secret: refused") {
		t.Errorf("exit code %d\n%s", code, &j.stderr)
	}
}

// The policy reads the revision in the flake reference, as it does --ref.
func TestPolicyReadsTheFlakesReference(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	code := j.run(t, "warm", "git+https://example.invalid/a/b?ref=refs/pull/7/head", "--engine", "host")
	if code != exitUsage || !strings.Contains(j.stderr.String(), "build refs/pull/7/head on push with a secret: refused") {
		t.Errorf("exit code %d\n%s", code, &j.stderr)
	}
}
