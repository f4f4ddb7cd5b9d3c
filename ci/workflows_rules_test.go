package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// workflowRule is a rule for every workflow and the action. It returns its complaints.
type workflowRule struct {
	name    string
	because string
	check   func(workflow) []string
	mutants []mutant
}

var workflowRules = slices.Concat(boundaryRules, []workflowRule{
	{"pinned", "a tag can be moved to other code", rulePinned, []mutant{
		{"@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7.0.1"},
		{"@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@3d3c42e # v7.0.1"},
		{" # v7.0.1", ""},
	}},
	{"permissions", "a token may read the code; only a job that does nothing but attest may do that", rulePermissions, []mutant{
		{"permissions:\n  contents: read\n", ""},
		{"contents: read", "contents: write"},
		{"contents: read", "contents: read\n  id-token: write"},
		{"    timeout-minutes: 10", "    timeout-minutes: 10\n    permissions:\n      packages: write"},
		{"    timeout-minutes: 10", "    timeout-minutes: 10\n    permissions:\n      id-token: write\n      attestations: write"},
		{"      attestations: write", "      attestations: write\n      contents: write"},
	}},
	{"events", "these have the secrets in reach of a stranger's code", ruleEvents, []mutant{
		{"  pull_request:", "  pull_request_target:"},
		{"  pull_request:", "  workflow_run:"},
	}},
	{"expressions", "what GitHub puts into a script is run by the shell", ruleNoExpressions, []mutant{
		{`"$REF"`, `"${{inputs.tag}}"`},
	}},
	{"credentials", "a token on disk is in reach of all that the job runs", ruleCredentials, []mutant{
		{"persist-credentials: false", "persist-credentials: true"},
		{"        with:\n          persist-credentials: false\n", ""},
	}},
	{"timeouts", "the default is six hours", ruleTimeouts, []mutant{
		{"    timeout-minutes: 10\n", ""},
	}},
	{"runners", "the next image of a runner is not chosen by its label", ruleRunners, []mutant{
		{"ubuntu-24.04", "ubuntu-latest"},
	}},
	{"secrets", "a secret is for the one step that needs it", ruleSecretsInReach, []mutant{
		{"    needs: [build, rebuild]", "    needs: [build, rebuild]\n    env:\n      A: ${{ secrets.A }}"},
		{"permissions:", "env:\n  A: ${{ secrets.A }}\npermissions:"},
		{"go-version-file: go.mod", "go-version-file: go.mod\n          token: ${{ secrets.A }}"},
		{"KEY: ${{ secrets.SCOPE_CREEP_CACHIX_PRIVATE_KEY }}", "KEY: ${{ toJSON(secrets) }}"},
	}},
	{"signals", "the runner sends them to the shell alone, and uploads have to be ended", ruleSignals, []mutant{
		{`exec "$RUNNER_TEMP/ci" publish`, `env "$RUNNER_TEMP/ci" publish`},
		{`exec "$RUNNER_TEMP/ci" publish`, `go run ./ci publish`},
	}},
	{"environment", "later steps run by what is written there", ruleEnvironment, []mutant{
		{"      - run: exec", "      - run: echo A=b >>\"$GITHUB_ENV\"\n      - run: exec"},
		{"      - run: exec", "      - run: echo . >>\"$GITHUB_PATH\"\n      - run: exec"},
	}},
	{"caches", "another job has put there what runs beside the secret, or decides what is published", ruleCaches, []mutant{
		{"          cache: false\n", ""},
		{"cache: false", "cache: true"},
	}},
	{"concurrency", "a pull request's older run is of no use; a release is never ended", ruleConcurrency, []mutant{
		{"cancel-in-progress: ${{ github.event_name == 'pull_request' }}", "cancel-in-progress: false"},
		{"github.event.pull_request.number", "github.run_id"},
		{"github.event.pull_request.number", "'all'"},
		{"|| github.run_id", "|| github.ref"},
	}},
	{"variables", "an empty word would take its place", ruleVariables, []mutant{
		{`--ref "$REF"`, `--ref "$RFE"`},
		{"          REF: ${{ inputs.tag }}\n", ""},
	}},
	{"commands", "the program refuses what it does not know", ruleCommands, []mutant{
		{"--system", "--sytem"},
		{"ci\" build", "ci\" biuld"},
		{`build --ref`, `build --json=maybe --ref`},
		{`build --ref`, `build one two --ref`},
		{` --system "$SYSTEM"`, ` --out a --system`},
	}},
	{"matrix", "a key that no cell has is empty", ruleMatrixKeys, []mutant{
		{"SYSTEM: ${{ matrix.system }}", "SYSTEM: ${{ matrix.sytem }}"},
	}},
})

// mutant is a change that breaks a rule.
type mutant struct{ old, new string }

var pinnedUse = regexp.MustCompile(`uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$`)

func rulePinned(w workflow) (complaints []string) {
	for _, j := range w.jobs() {
		for _, s := range append(j.steps, j.node) {
			uses := yamlAt(s, "uses")
			if uses == nil || strings.HasPrefix(uses.Value, "./") {
				continue
			}
			if line := w.lines[uses.Line-1]; !pinnedUse.MatchString(line) {
				complaints = append(complaints, fmt.Sprintf("line %d: %s", uses.Line, strings.TrimSpace(line)))
			}
		}
	}
	return complaints
}

func rulePermissions(w workflow) (complaints []string) {
	if w.isAction() {
		return nil
	}
	if p := yamlAt(w.root, "permissions"); !slices.Equal(yamlKeys(p), []string{"contents"}) || yamlText(p, "contents") != "read" {
		complaints = append(complaints, "not contents: read alone")
	}
	for _, j := range w.jobs() {
		own := yamlAt(j.node, "permissions")
		if own == nil {
			continue
		}
		if !slices.Equal(yamlKeys(own), []string{"id-token", "attestations"}) || slices.ContainsFunc(j.steps, doesNotAttest) {
			complaints = append(complaints, "job "+j.name+" has its own permissions")
		}
	}
	return complaints
}

func doesNotAttest(step *yaml.Node) bool {
	action, _, _ := strings.Cut(yamlText(step, "uses"), "@")
	return action != "actions/attest-build-provenance" && action != "actions/upload-artifact"
}

func ruleEvents(w workflow) (complaints []string) {
	for _, event := range yamlKeys(yamlAt(w.root, "on")) {
		if event == "pull_request_target" || event == "workflow_run" || event == "issue_comment" {
			complaints = append(complaints, event)
		}
	}
	return complaints
}

func ruleNoExpressions(w workflow) []string {
	return eachScript(w, func(_ *yaml.Node, script string) (complaints []string) {
		if strings.Contains(script, "${{") {
			complaints = append(complaints, script)
		}
		return complaints
	})
}

func ruleCredentials(w workflow) (complaints []string) {
	for _, j := range w.jobs() {
		for _, s := range j.steps {
			if strings.HasPrefix(yamlText(s, "uses"), "actions/checkout@") && yamlText(s, "with", "persist-credentials") != "false" {
				complaints = append(complaints, "a checkout of job "+j.name)
			}
		}
	}
	return complaints
}

func ruleTimeouts(w workflow) (complaints []string) {
	for _, j := range w.jobs() {
		if !w.isAction() && yamlText(j.node, "timeout-minutes") == "" {
			complaints = append(complaints, "job "+j.name+" has none")
		}
	}
	return complaints
}

func ruleRunners(w workflow) (complaints []string) {
	for _, j := range w.jobs() {
		if label := yamlWords(yamlAt(j.node, "runs-on")) + yamlWords(yamlAt(j.node, "strategy")); strings.Contains(label, "-latest") {
			complaints = append(complaints, "job "+j.name+" runs on "+label)
		}
	}
	return complaints
}

// secretNamed finds expressions with secrets in them: one by its name, or all.
var secretNamed = regexp.MustCompile(`\$\{\{[^}]*(\bsecrets\b|inputs\.(token|signing-key))`)

func ruleSecretsInReach(w workflow) (complaints []string) {
	for number, line := range w.lines {
		if strings.Contains(line, "toJSON(secrets") || strings.Contains(line, "secrets: inherit") {
			complaints = append(complaints, fmt.Sprintf("line %d: all of them", number+1))
		}
	}
	// The permitted places are removed; then nothing may be left.
	everywhere := len(secretNamed.FindAllString(yamlWords(w.root), -1))
	for _, j := range w.jobs() {
		for _, s := range j.steps {
			if yamlAt(s, "run") != nil {
				everywhere -= len(secretNamed.FindAllString(yamlWords(yamlAt(s, "env")), -1))
			}
			if strings.HasPrefix(yamlText(s, "uses"), "scopecreep-zip/"+toolName+"@") { // its own step has the rules of action.yml
				everywhere -= len(secretNamed.FindAllString(yamlText(s, "with", "token"), -1))
			}
		}
	}
	if everywhere > 0 {
		complaints = append(complaints, "outside of the environment of a step with a script, and of the token of our action")
	}
	return complaints
}

// ruleSignals requires that the program replaces the shell in steps that can push.
func ruleSignals(w workflow) []string {
	return eachScript(w, func(step *yaml.Node, script string) (complaints []string) {
		lines := strings.Split(strings.TrimSpace(script), "\n")
		if secretNamed.MatchString(yamlWords(yamlAt(step, "env"))) && !strings.HasPrefix(lines[len(lines)-1], `exec "$RUNNER_TEMP/ci" `) {
			complaints = append(complaints, script)
		}
		return complaints
	})
}

func ruleEnvironment(w workflow) []string {
	return eachScript(w, func(_ *yaml.Node, script string) (complaints []string) {
		if strings.Contains(script, "GITHUB_ENV") || strings.Contains(script, "GITHUB_PATH") {
			complaints = append(complaints, script)
		}
		return complaints
	})
}

// ruleCaches forbids Go's cache in a workflow with a secret.
func ruleCaches(w workflow) (complaints []string) {
	if !secretNamed.MatchString(yamlWords(w.root)) {
		return nil
	}
	for _, j := range w.jobs() {
		for _, s := range j.steps {
			uses := yamlText(s, "uses")
			if strings.HasPrefix(uses, "actions/cache") || strings.HasPrefix(uses, "actions/setup-go@") && yamlText(s, "with", "cache") != "false" {
				complaints = append(complaints, "job "+j.name+": "+uses)
			}
		}
	}
	return complaints
}

// ruleConcurrency checks how two runs affect each other, for each event that starts one.
func ruleConcurrency(w workflow) (complaints []string) {
	if w.isAction() {
		return nil
	}
	group, cancel := yamlText(w.root, "concurrency", "group"), yamlText(w.root, "concurrency", "cancel-in-progress")
	expand := func(c contexts, text string) string {
		value, err := c.expand(text)
		if err != nil {
			complaints = append(complaints, err.Error())
		}
		return word(value)
	}
	together := func(a, b contexts) bool { return expand(a, group) == expand(b, group) }
	ends := func(older, newer contexts) bool { return together(older, newer) && expand(newer, cancel) == "true" }
	// In a group, GitHub cancels a waiting run when the next one waits, even if it does not cancel the one in progress.
	for _, event := range []string{"push", "schedule", "workflow_dispatch", "release", "merge_group"} {
		if together(runOf(event, "1", 0), runOf(event, "2", 0)) {
			complaints = append(complaints, event+" has one group for two runs")
		}
	}
	if !ends(runOf("pull_request", "1", 7), runOf("pull_request", "2", 7)) {
		complaints = append(complaints, "a push to a pull request does not end the run before it")
	}
	if ends(runOf("pull_request", "1", 7), runOf("pull_request", "2", 8)) {
		complaints = append(complaints, "a pull request ends the run of another")
	}
	return complaints
}

// eachScript collects the complaints about each script of a workflow.
func eachScript(w workflow, check func(step *yaml.Node, script string) []string) (complaints []string) {
	for _, j := range w.jobs() {
		for _, s := range j.steps {
			if run := yamlText(s, "run"); run != "" {
				complaints = append(complaints, check(s, run)...)
			}
		}
	}
	return complaints
}
