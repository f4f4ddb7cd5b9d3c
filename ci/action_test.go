package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
)

// The action's script runs as on a runner, with a program that prints its arguments.
func TestActionCallsTheProgram(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	run := readWorkflow(t, "../action.yml").job(t, "runs").step(t, "exec ")
	nixos := project.Default()
	for name, test := range map[string]struct {
		inputs map[string]any
		arch   string
		want   []string
	}{
		"the packages alone": {
			map[string]any{"packages": "hello"},
			"X64",
			strings.Fields("build --ref  --out TEMP/open-sesame-ci --package hello --system x86_64-linux -- ."),
		},
		"on an ARM runner": {
			map[string]any{"packages": "hello"},
			"ARM64",
			strings.Fields("build --ref  --out TEMP/open-sesame-ci --package hello --system aarch64-linux -- ."),
		},
		"a release without a cache to push to": {
			map[string]any{"packages": "hello", "command": "release", "push": "always", "token": "t"},
			"X64",
			strings.Fields("release --ref  --out TEMP/open-sesame-ci --package hello --system x86_64-linux --push always -- ."),
		},
		"a build that another job publishes": {
			map[string]any{"packages": "hello", "role": "rebuild", "command": "release", "cachix": "a", "token": "t"},
			"X64",
			strings.Fields("build --ref  --out TEMP/open-sesame-ci --package hello --system x86_64-linux --rebuild=off --export own -- ."),
		},
		"everything": {
			map[string]any{
				"packages": "hello\n  tools\n", "systems": "x86_64-linux aarch64-linux", "flake": "github:a/b", "ref": "v1",
				"command": "release", "cache": "https://a.cachix.org", "cache-key": "a.cachix.org-1:AA==", "cachix": "a",
				"push": "always", "out": "result", "args": "--override-input\nnixpkgs=./with spaces\n\n-v\n",
			},
			"X64",
			slices.Concat(
				strings.Fields("release --ref v1 --out result --package hello --package tools --system x86_64-linux --system aarch64-linux"),
				strings.Fields("--served-by https://a.cachix.org --substituter "+nixos.Substituters[0]+" --substituter https://a.cachix.org"),
				strings.Fields("--trusted-key "+nixos.TrustedKeys[0]+" --trusted-key a.cachix.org-1:AA== --push always --cachix a"),
				[]string{"--override-input", "nixpkgs=./with spaces", "-v", "--", "github:a/b"},
			),
		},
		"what a shell would expand": {
			map[string]any{"packages": "* $(id) `id`", "flake": "-x", "ref": "a;b $(id)", "out": "my out", "args": "$(id)\n*"},
			"X64",
			slices.Concat(
				[]string{"build", "--ref", "a;b $(id)", "--out", "my out"},
				[]string{"--package", "*", "--package", "$(id)", "--package", "`id`", "--system", "x86_64-linux", "$(id)", "*", "--", "-x"},
			),
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := contexts{"inputs": actionInputs(t, test.inputs), "runner": map[string]any{"arch": test.arch, "temp": "TEMP"}, "job": map[string]any{"check_run_id": float64(41)}}
			got := argumentsOf(t, bash, run, c, t.TempDir())
			want := slices.Clone(test.want)
			if i := slices.Index(want, "--ref"); want[i+1] == "--out" {
				want = slices.Insert(want, i+1, "") // strings.Fields drops it
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if name != "what a shell would expand" {
				if err := parses(got); err != nil {
					t.Errorf("the program does not take it: %v", err)
				}
			}
		})
	}
}

// argumentsOf runs the script of a step with a program that prints its arguments, in a temporary directory of a runner.
func argumentsOf(t *testing.T, bash string, step *yaml.Node, c contexts, temp string) []string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(temp, "ci"), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", yamlText(step, "run"))
	script.Env = []string{"RUNNER_TEMP=" + temp, "PATH=" + os.Getenv("PATH")}
	for _, name := range yamlKeys(yamlAt(step, "env")) {
		script.Env = append(script.Env, name+"="+expand(t, c, yamlText(step, "env", name)))
	}
	script.Stderr = os.Stderr
	out, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// The action runs the program itself on the example. Each output that it declares is available to later steps.
func TestActionSetsItsOutputs(t *testing.T) {
	t.Parallel()
	store := needsNix(t)
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	action := readWorkflow(t, "../action.yml")
	run, declared := action.job(t, "runs").step(t, "exec "), yamlAt(action.root, "outputs")
	program := buildCI(t)
	j := newJobElsewhere(t, pulled("pull_request", "stranger/open-sesame", false)).in(store)
	c := contexts{
		"inputs": actionInputsOf(t, action, map[string]any{"packages": "open-sesame", "flake": "example", "args": "--engine=host\n--contract=off"}),
		"runner": map[string]any{"arch": "X64", "temp": "temp"}, "job": map[string]any{"check_run_id": float64(41)},
	}
	script := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", yamlText(run, "run"))
	script.Dir = j.dir
	script.Env = append(j.environ, "RUNNER_TEMP="+filepath.Dir(program))
	for _, name := range yamlKeys(yamlAt(run, "env")) {
		script.Env = append(script.Env, name+"="+expand(t, c, yamlText(run, "env", name)))
	}
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]any{}
	for _, match := range stepOutput.FindAllStringSubmatch(readTest(t, j.output), -1) {
		got[match[1]] = match[2]
	}
	c = contexts{"steps": map[string]any{yamlText(run, "id"): map[string]any{"outputs": got}, "publish": map[string]any{}}}
	want := map[string]string{
		"manifest": "temp/open-sesame-ci/manifest.json", "hits": "0", "misses": "1",
		"out-paths": "/nix/store/rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2",
	}
	values := map[string]string{}
	for _, name := range yamlKeys(declared) {
		values[name] = expand(t, c, yamlText(declared, name, "value"))
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if summary := readTest(t, j.summary); !strings.HasPrefix(summary, "## ✅ Built") || !strings.Contains(summary, "/actions/runs/1/job/41)") {
		t.Errorf("the summary is\n%s", summary)
	}
}

// stepOutput matches an output of a step: its name, and its value between two lines of a delimiter.
var stepOutput = regexp.MustCompile(`(?s)([\w-]+)<<\w+\n(.*?)\n_GitHub`)

// actionInputs returns the inputs that a workflow gives, and the defaults of the others.
func actionInputs(t *testing.T, given map[string]any) map[string]any {
	t.Helper()
	return actionInputsOf(t, readWorkflow(t, "../action.yml"), given)
}

func actionInputsOf(t *testing.T, action workflow, given map[string]any) map[string]any {
	t.Helper()
	declared := yamlAt(action.root, "inputs")
	inputs := map[string]any{}
	for _, name := range yamlKeys(declared) {
		inputs[name] = yamlText(declared, name, "default")
		if value, ok := given[name]; ok {
			inputs[name] = value
		}
	}
	for name := range given {
		if _, ok := inputs[name]; !ok {
			t.Fatalf("the action has no input %s", name)
		}
	}
	return inputs
}

func TestActionIsDocumented(t *testing.T) {
	action := readWorkflow(t, "../action.yml").root
	script := yamlWords(yamlAt(action, "runs"))
	for _, kind := range []string{"inputs", "outputs"} {
		for _, name := range yamlKeys(yamlAt(action, kind)) {
			if yamlText(action, kind, name, "description") == "" {
				t.Errorf("%s: %s has no description", kind, name)
			}
			if kind == "inputs" && !strings.Contains(script, "inputs."+name+" ") {
				t.Errorf("input %s is not used", name)
			}
		}
	}
	if doc := readTest(t, "../docs/github-actions.md"); !strings.Contains(doc, "](../action.yml) describes all inputs and outputs") {
		t.Error("docs/github-actions.md does not refer to action.yml for its inputs and outputs")
	}
}

// .ci/play runs the commands of the workflow on any machine, in the same order.
func TestPlayRunsTheWorkflowsCommands(t *testing.T) {
	var want []string
	for _, j := range readWorkflow(t, "../.github/workflows/nix.yml").jobs() {
		for _, s := range j.steps {
			for _, call := range programCalls(yamlText(s, "run")) {
				if call != "doctor --fix" && !slices.Contains(want, call) { // it sets a machine up; both builds are the same
					want = append(want, call)
				}
			}
		}
	}
	script, err := os.ReadFile("../.ci/play")
	if err != nil {
		t.Fatal(err)
	}
	ownArguments := regexp.MustCompile(` "\$\{(at|more)\[@\]\}".*`) // they come last
	var got []string
	for _, call := range programCalls(string(script)) {
		got = append(got, ownArguments.ReplaceAllString(call, ""))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-nix.yml +.ci/play):\n%s", diff)
	}
}
