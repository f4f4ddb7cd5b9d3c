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
		Flake    string
		Rebuild  bool
		Publish  bool   // whether the job starts
		Secret   string // of that job
		Pin      bool
	}
	const stranger = "stranger/open-sesame"
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
			outcome{"main", "github:" + caller, true, true, "s3cret", true},
		},
		"called by a release, without a tag": {
			runOf("push", "1", 0), caller,
			map[string]any{"tag": ""},
			"s3cret",
			outcome{"5ha", "github:" + caller, true, true, "s3cret", true},
		},
		"called by a release, without the secret": {
			runOf("workflow_dispatch", "1", 0), caller,
			map[string]any{"tag": "v1.14.2"},
			"",
			outcome{"v1.14.2", "github:" + caller, true, true, "", true},
		},
		"called by a pull request of the same repository": {
			pullOf(caller), caller,
			map[string]any{"tag": ""},
			"s3cret",
			outcome{"4ead", "github:" + caller, false, true, "s3cret", false},
		},
		"called by a pull request, to build twice": {
			pullOf(caller), caller,
			map[string]any{"tag": "", "rebuild-pull-requests": true},
			"s3cret",
			outcome{"4ead", "github:" + caller, true, true, "s3cret", false},
		},
		"called by a fork's pull request": { // GitHub withholds the secret
			pullOf(stranger), caller,
			map[string]any{"tag": ""},
			"",
			outcome{"4ead", "github:" + caller, false, false, "", false},
		},
		"a pull request here": {
			pullOf(here), here,
			map[string]any{},
			"s3cret",
			outcome{"", "example", false, true, "", false},
		},
		"a pull request in a fork of this repository, spelled in another case": {
			pullOf(here), strings.ToUpper(here),
			map[string]any{},
			"s3cret",
			outcome{"", "example", false, true, "", false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := run.contexts.with("inputs", run.inputs).
				with("job", map[string]any{"workflow_repository": here, "workflow_sha": "c0de"}).
				with("secrets", map[string]any{defaultSecret: run.secret})
			c["github"].(map[string]any)["repository"] = run.repository

			var got outcome
			plan, publish := w.job(t, "plan"), w.job(t, "publish")
			checkout := plan.step(t, "path\nflake")
			if condition(t, c, yamlText(checkout, "if")) {
				got.Checkout = expand(t, c, yamlText(checkout, "with", "ref"))
			}
			outputs := map[string]any{}
			for _, name := range []string{"flake", "rebuild", "release"} {
				outputs[name] = expand(t, c, yamlText(plan.node, "outputs", name))
			}
			got.Flake = word(outputs["flake"])
			c = c.with("needs", needs(outputs, jobSuccess, jobSkipped))
			rebuilds, err := c.starts(w.job(t, "rebuild"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Rebuild = rebuilds; rebuilds {
				c = c.with("needs", needs(outputs, jobSuccess, jobSuccess))
			}
			if got.Publish, err = c.starts(publish); err != nil {
				t.Fatal(err)
			}
			step := publish.step(t, "--pin")
			got.Secret = expand(t, c, yamlText(step, "env", defaultSecret))
			got.Pin = expand(t, c, yamlText(step, "env", "PIN")) == "true"
			if diff := cmp.Diff(run.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			wantMode := map[bool]string{true: enforce, false: off}[got.Rebuild]
			if mode := expand(t, c, yamlText(step, "env", "REBUILD")); mode != wantMode {
				t.Errorf("--rebuild=%s, want %s", mode, wantMode)
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
	cells, err := includes(matrix.Expand(matrix.DefaultSystems(), defaultProject.Packages))
	if err != nil {
		t.Fatal(err)
	}
	artifacts := map[string]bool{}
	var got []string
	for _, inputs := range []map[string]any{{}, {"runner": "ubuntu-24.04"}, {"rebuild-runner": "ubuntu-24.04"}} {
		for _, name := range []string{"build", "rebuild"} {
			j := w.job(t, name)
			emulator, artifact := j.step(t, "doctor --fix"), j.step(t, "upload-artifact")
			for _, include := range cells {
				c := contexts{"matrix": include, "inputs": inputs, "github": map[string]any{"job": name, "run_attempt": "1"}}
				label := expand(t, c, yamlText(j.node, "runs-on"))
				arch := "X64"
				if strings.HasSuffix(label, "-arm") {
					arch = "ARM64"
				}
				c = c.with("runner", map[string]any{"arch": arch})
				got = append(got, fmt.Sprintf("%s %s on %s, emulated: %t", name, include["system"], label, condition(t, c, yamlText(emulator, "if"))))
				artifacts[expand(t, c, yamlText(artifact, "with", "name"))] = true
			}
		}
	}
	want := []string{
		"build x86_64-linux on ubuntu-24.04, emulated: false",
		"build aarch64-linux on ubuntu-24.04-arm, emulated: false",
		"rebuild x86_64-linux on ubuntu-24.04, emulated: false",
		"rebuild aarch64-linux on ubuntu-24.04-arm, emulated: false",
		"build x86_64-linux on ubuntu-24.04, emulated: false",
		"build aarch64-linux on ubuntu-24.04, emulated: true",
		"rebuild x86_64-linux on ubuntu-24.04, emulated: false",
		"rebuild aarch64-linux on ubuntu-24.04, emulated: true",
		"build x86_64-linux on ubuntu-24.04, emulated: false",
		"build aarch64-linux on ubuntu-24.04-arm, emulated: false",
		"rebuild x86_64-linux on ubuntu-24.04, emulated: false",
		"rebuild aarch64-linux on ubuntu-24.04, emulated: true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(artifacts) != 2*len(cells) {
		t.Errorf("the jobs of %d systems upload artifacts %v", len(cells), artifacts)
	}
}

// The job that publishes downloads the artifact of each system from each job that builds, into a directory of its own.
func TestNixWorkflowDownloadsEachSystem(t *testing.T) {
	w := readWorkflow(t, "../.github/workflows/nix.yml")
	want := map[string]string{}
	for _, name := range []string{"build", "rebuild"} {
		for _, system := range matrix.DefaultSystems() {
			want["${{ runner.temp }}/"+name+"/"+string(system)] = fmt.Sprintf("${{ needs.%s.outputs.%s }}", name, system)
		}
	}
	got := map[string]string{}
	for _, s := range w.job(t, "publish").steps {
		if strings.HasPrefix(yamlText(s, "uses"), "actions/download-artifact@") {
			got[yamlText(s, "with", "path")] = yamlText(s, "with", "artifact-ids")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if publish := w.job(t, "publish").step(t, "--pin"); !strings.Contains(yamlText(publish, "run"), " --cachix "+defaultProject.Cachix+" --secret-env "+defaultProject.SecretEnv+" ") {
		t.Error("it publishes with another cache or secret than the project's")
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
