package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The expressions of nix.yml, evaluated for each event.
func TestNixWorkflowOfEachEvent(t *testing.T) {
	w := readWorkflow(t, "../.github/workflows/nix.yml")
	const here, caller = "scopecreep-zip/open-sesame-ci", "ScopeCreep-zip/open-sesame"
	type outcome struct {
		Checkout string // of the caller's repository; empty if it is not checked
		Command  string
		Flake    string
		Secret   string // of the cells, and of the report
		Pin      bool   // if all cells are good
	}
	for name, run := range map[string]struct {
		contexts   contexts
		repository string
		inputs     map[string]any
		secret     string
		want       outcome
	}{
		"called by a release": {
			runOf("push", "1", 0), caller,
			map[string]any{"tag": "main"},
			"s3cret",
			outcome{"main", "release", "github:" + caller, "s3cret", true},
		},
		"called by a release, without a tag": {
			runOf("push", "1", 0), caller,
			map[string]any{"tag": ""},
			"s3cret",
			outcome{"5ha", "release", "github:" + caller, "s3cret", true},
		},
		"called by a release, without the secret": {
			runOf("workflow_dispatch", "1", 0), caller,
			map[string]any{"tag": "v1.14.2"},
			"",
			outcome{"v1.14.2", "release", "github:" + caller, "", true},
		},
		"called by a pull request of the same repository": {
			runOf("pull_request", "1", 7), caller,
			map[string]any{"tag": ""},
			"s3cret",
			outcome{"4ead", "warm", "github:" + caller, "s3cret", false},
		},
		"called by a fork's pull request": { // GitHub withholds the secret
			runOf("pull_request", "1", 7), caller,
			map[string]any{"tag": ""},
			"",
			outcome{"4ead", "warm", "github:" + caller, "", false},
		},
		"a pull request here": {
			runOf("pull_request", "1", 7), here,
			map[string]any{},
			"s3cret",
			outcome{"", "warm", "example", "", false},
		},
		"a pull request in a fork of this repository, spelled in another case": {
			runOf("pull_request", "1", 7), strings.ToUpper(here),
			map[string]any{},
			"s3cret",
			outcome{"", "warm", "example", "", false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := run.contexts.with("inputs", run.inputs).
				with("job", map[string]any{"workflow_repository": here, "workflow_sha": "c0de"}).
				with("secrets", map[string]any{"SCOPE_CREEP_CACHIX_PRIVATE_KEY": run.secret})
			c["github"].(map[string]any)["repository"] = run.repository

			var got outcome
			plan, cell, report := w.job(t, "plan"), w.job(t, "cell"), w.job(t, "report")
			checkout := plan.step(t, "path\nflake")
			if condition(t, c, yamlText(checkout, "if")) {
				got.Checkout = expand(t, c, yamlText(checkout, "with", "ref"))
			}
			got.Command = expand(t, c, yamlText(plan.node, "outputs", "command"))
			got.Flake = expand(t, c, yamlText(plan.node, "outputs", "flake"))

			outputs := map[string]any{"command": got.Command, "flake": got.Flake}
			c = c.with("needs", needs(outputs, "success"))
			const key = "SCOPE_CREEP_CACHIX_PRIVATE_KEY"
			push, join := cell.step(t, "--system"), report.step(t, "--pin")
			got.Secret = expand(t, c, yamlText(push, "env", key))
			if other := expand(t, c, yamlText(join, "env", key)); other != got.Secret {
				t.Errorf("the cells have the secret %q, the report has %q", got.Secret, other)
			}
			got.Pin = expand(t, c, yamlText(join, "env", "PIN")) == "true"
			if diff := cmp.Diff(run.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}

			for _, result := range []string{"failure", "cancelled", "skipped"} {
				c := c.with("needs", needs(outputs, result))
				if !condition(t, c, yamlText(report.node, "if")) {
					t.Errorf("no report after cells ended with %s", result)
				}
				if pin := expand(t, c, yamlText(join, "env", "PIN")); pin != "false" {
					t.Errorf("pins after cells ended with %s: %s", result, pin)
				}
				if got := expand(t, c, yamlText(join, "env", "RESULT")); got != result {
					t.Errorf("the report gets the result %s for cells that ended with %s", got, result)
				}
			}
		})
	}
}

// All jobs use this program from the workflow's own commit, for every caller.
func TestNixWorkflowChecksOutItself(t *testing.T) {
	w := readWorkflow(t, "../.github/workflows/nix.yml")
	for _, j := range w.jobs() {
		first := j.steps[0]
		if got := yamlText(first, "with", "repository") + " " + yamlText(first, "with", "ref"); got != "${{ job.workflow_repository }} ${{ job.workflow_sha }}" {
			t.Errorf("job %s begins with a checkout of %s", j.name, got)
		}
	}
	if !slices.Equal(yamlKeys(yamlAt(w.root, "on")), []string{"workflow_call", "pull_request"}) {
		t.Errorf("runs on %v", yamlKeys(yamlAt(w.root, "on")))
	}
	// The inputs of Open Sesame's callers.
	if yamlText(w.root, "on", "workflow_call", "inputs", "tag", "type") != "string" ||
		yamlText(w.root, "on", "workflow_call", "secrets", "SCOPE_CREEP_CACHIX_PRIVATE_KEY", "required") != "false" {
		t.Error("the input tag is no string, or the secret is not optional")
	}
	for _, input := range yamlKeys(yamlAt(w.root, "on", "workflow_call", "inputs")) {
		if yamlText(w.root, "on", "workflow_call", "inputs", input, "required") == "true" {
			t.Errorf("input %s is required: today's callers do not give it", input)
		}
	}
}

// The workflow's expressions, evaluated with the matrix that the program prints.
func TestNixWorkflowRunsEachCellOnItsRunner(t *testing.T) {
	w := readWorkflow(t, "../.github/workflows/nix.yml")
	cell := w.job(t, "cell")
	cells, err := includes(matrix.Expand(matrix.DefaultSystems(), defaultProject.Packages))
	if err != nil {
		t.Fatal(err)
	}
	emulator := cell.step(t, "doctor --fix")
	var got []string
	for _, runner := range []string{"", "ubuntu-24.04"} {
		artifacts := map[string]bool{}
		for _, include := range cells {
			c := contexts{"matrix": include, "inputs": map[string]any{"runner": runner}}
			label := expand(t, c, yamlText(cell.node, "runs-on"))
			arch := "X64"
			if strings.HasSuffix(label, "-arm") {
				arch = "ARM64"
			}
			c = c.with("runner", map[string]any{"arch": arch})
			got = append(got, fmt.Sprintf("%s on %s, emulated: %t", include["system"], label, condition(t, c, yamlText(emulator, "if"))))
			artifacts[expand(t, c, yamlText(cell.step(t, "nix-cell-"), "with", "name"))] = true
		}
		if len(artifacts) != len(cells) {
			t.Errorf("%d cells upload artifacts %v", len(cells), artifacts)
		}
	}
	want := []string{
		"x86_64-linux on ubuntu-24.04, emulated: false",
		"aarch64-linux on ubuntu-24.04-arm, emulated: false",
		"x86_64-linux on ubuntu-24.04, emulated: false",
		"aarch64-linux on ubuntu-24.04, emulated: true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func expand(t *testing.T, c contexts, text string) string {
	t.Helper()
	value, err := c.expand(text)
	if err != nil {
		t.Fatal(err)
	}
	return word(value)
}

// condition evaluates an `if`, which needs no braces.
func condition(t *testing.T, c contexts, expr string) bool {
	t.Helper()
	value, err := c.evaluate(expr)
	if err != nil {
		t.Fatal(err)
	}
	return truthy(value)
}
