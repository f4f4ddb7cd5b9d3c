package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/scopecreep-zip/open-sesame-ci/internal/scaffold"
)

// The boundary between the jobs that run a flake's code and the job with the secret.
var boundaryRules = []workflowRule{
	{"one job", "a job that runs a flake's code has no secret", ruleOneJobHasSecrets, []mutant{
		{"          SYSTEM: ${{ matrix.system }}\n", "          SYSTEM: ${{ matrix.system }}\n          A: ${{ secrets.A }}\n"},
	}},
	{"nothing of the flake", "the job with the secret runs only this program, and no Nix", rulePublisherRunsNothing, []mutant{
		{"          repository: ${{ job.workflow_repository }}\n", ""},
		{"          ref: ${{ job.workflow_sha }}\n", ""},
		{"          cache: false\n", "          cache: false\n      - uses: ./\n"},
		{"          cache: false\n", "          cache: false\n      - uses: ./.github/actions/a\n"},
		{"          cache: false\n", "          cache: false\n      - run: curl -L https://nixos.org/nix/install | sh\n"},
		{"          cache: false\n", "          cache: false\n      - run: sudo \"$RUNNER_TEMP/ci\" doctor --fix\n"},
		{`publish builds`, `report builds`},
	}},
	{"after all builds", "a build that failed, or is not done, must not be published", rulePublisherNeedsBuilds, []mutant{
		{"needs: [build, rebuild]", "needs: [build]"},
		{"needs: [build, rebuild]", "needs: [rebuild]"},
	}},
	{"only after success", "nothing is published after a failure, a cancellation, or for a fork", rulePublisherCondition, []mutant{
		{"!cancelled() &&", "always() &&"},
		{"!cancelled() && needs.build.result == 'success'", "needs.build.result == 'success'"}, // implies success(): a skipped rebuild counts as none
		{"needs.build.result == 'success' &&", ""},
		{"needs.build.result == 'success'", "needs.build.result != 'failure'"},
		{"needs.rebuild.result == (needs.plan.outputs.rebuild == 'true' && 'success' || 'skipped') &&", ""},
		{"(needs.plan.outputs.rebuild == 'true' && 'success' || 'skipped')", "'success'"},
		{"needs.rebuild.result == (", "needs.rebuild.result != 'failure' || ("},
		{" &&\n      (!github.event.pull_request || github.event.pull_request.head.repo.full_name == github.repository)", ""},
		{"!github.event.pull_request || github.event.pull_request.head.repo.full_name == github.repository", "!github.event.pull_request"},
		{"github.event.pull_request.head.repo.full_name == github.repository", "github.event.pull_request.number"},
	}},
	{"artifacts", "a job that runs again has new results, and no other job can replace them", ruleArtifacts, []mutant{
		{"-${{ github.run_attempt }}", ""},
		{"nix-${{ github.job }}-", "nix-"},
		{"-${{ matrix.system }}-", "-"},
		{"artifact-ids: ${{ needs.build.outputs.x86_64-linux }}", "pattern: nix-build-*"},
		{"artifact-ids: ${{ needs.build.outputs.x86_64-linux }}", "artifact-ids: 1"},
		{"artifact-ids: ${{ needs.build.outputs.x86_64-linux }}", "artifact-ids: ${{ needs.build.outputs.x86_64 }}"},
		{"matrix.system == 'x86_64-linux' &&", ""},
		{"steps.artifact.outputs.artifact-id", "steps.other.outputs.artifact-id"},
	}},
}

// withSecrets returns the jobs of a workflow with a secret. An action has none: it runs in the job that uses it.
func (w workflow) withSecrets() (jobs []job) {
	for _, j := range w.jobs() {
		if !w.isAction() && secretNamed.MatchString(yamlWords(j.node)) {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// builders returns the jobs that upload what a flake's code has made: those with our matrix.
func (w workflow) builders() (jobs []job) {
	for _, j := range w.jobs() {
		if j.builds() {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

func (j job) builds() bool {
	return strings.Contains(yamlText(j.node, "strategy", "matrix"), "fromJSON")
}

// publishers returns the jobs with a secret that do not build.
func (w workflow) publishers() []job { return slices.DeleteFunc(w.withSecrets(), job.builds) }

func ruleOneJobHasSecrets(w workflow) (complaints []string) {
	all := w.withSecrets()
	if len(all) > 1 {
		complaints = append(complaints, fmt.Sprintf("%d jobs have a secret", len(all)))
	}
	for _, j := range all {
		if j.builds() {
			complaints = append(complaints, "job "+j.name+" builds")
		}
	}
	return complaints
}

// What the job with the secret may do: get this program, get the artifacts, publish, and keep the results.
const ownAction = "scopecreep-zip/" + toolName

var (
	publisherUses = []string{"actions/checkout", "actions/setup-go", "actions/download-artifact", "actions/upload-artifact"}
	otherPrograms = regexp.MustCompile(`\b(nix|nix-\w+|docker|dagger|curl|wget|sudo|apt(-get)?|git|eval|source|bash|sh)\b`)
)

func rulePublisherRunsNothing(w workflow) (complaints []string) {
	for _, j := range w.publishers() {
		for _, s := range j.steps {
			action, _, _ := strings.Cut(yamlText(s, "uses"), "@")
			script := yamlText(s, "run")
			switch {
			case action == ownAction && yamlText(s, "with", "role") == "publish":
			case action != "" && !slices.Contains(publisherUses, action):
				complaints = append(complaints, action)
			case action == "actions/checkout" && !isOwnCheckout(s):
				complaints = append(complaints, "checks out another repository than this program's")
			case script != "" && otherPrograms.MatchString(script):
				complaints = append(complaints, script)
			}
			for _, call := range programCalls(script) {
				if name, _, _ := strings.Cut(call, " "); name != "publish" {
					complaints = append(complaints, "runs "+call)
				}
			}
		}
	}
	return complaints
}

func isOwnCheckout(step *yaml.Node) bool {
	return yamlText(step, "with", "repository") == "${{ job.workflow_repository }}" && yamlText(step, "with", "ref") == "${{ job.workflow_sha }}"
}

func rulePublisherNeedsBuilds(w workflow) (complaints []string) {
	for _, j := range w.publishers() {
		for _, builder := range w.builders() {
			if !slices.Contains(yamlKeys(yamlAt(j.node, "needs")), builder.name) {
				complaints = append(complaints, "job "+j.name+" does not need "+builder.name)
			}
		}
	}
	return complaints
}

// rulePublisherCondition evaluates the condition of the job with the secret for each result of the jobs before it.
func rulePublisherCondition(w workflow) (complaints []string) {
	for _, j := range w.publishers() {
		for _, e := range endsOfBuilds() {
			if w.name == scaffold.WorkflowFile && !strings.HasPrefix(e.name, "push, ") {
				e.publishes = false // it publishes no pull requests, and builds everything else twice
			}
			if got, err := e.contexts.starts(j); err != nil || got != e.publishes {
				complaints = append(complaints, fmt.Sprintf("job %s starts: %t (%v), want %t: %s", j.name, got, err, e.publishes, e.name))
			}
		}
	}
	return complaints
}

// buildsEnd is an end of the jobs that build, and whether the job with the secret starts then.
type buildsEnd struct {
	name      string
	contexts  contexts
	publishes bool
}

func endsOfBuilds() (ends []buildsEnd) {
	events := map[string]contexts{
		"push": runOf("push", "1", 0), "pull request": pullOf(callersRepository),
		"fork": pullOf("stranger/open-sesame"), "deleted fork": pullOf(""),
	}
	for name, event := range events {
		for _, build := range endsOfJobs {
			for _, rebuild := range endsOfJobs {
				good := build == jobSuccess && rebuild == jobSuccess && !strings.Contains(name, "fork")
				twice := event.with("needs", needs(map[string]any{"rebuild": "true"}, build, rebuild))
				text := fmt.Sprintf("%s, build: %s, rebuild: %s", name, build, rebuild)
				ends = append(ends, buildsEnd{text, twice, good}, buildsEnd{text + ", cancelled", twice.with("cancelled", true), false})
			}
			once := event.with("needs", needs(map[string]any{"rebuild": "false"}, build, jobSkipped))
			ends = append(ends, buildsEnd{name + " without a rebuild, build: " + build, once, build == jobSuccess && !strings.Contains(name, "fork")})
		}
	}
	return ends
}

var endsOfJobs = []string{jobSuccess, jobFailure, jobCancelled, jobSkipped}

// A condition without one of these functions has success() added by GitHub.
var statusFunction = regexp.MustCompile(`\b(always|cancelled|failure|success)\(\)`)

// starts reports whether a job starts after those that it needs.
func (c contexts) starts(j job) (bool, error) {
	condition := yamlText(j.node, "if")
	if !statusFunction.MatchString(condition) {
		for _, needed := range yamlKeys(yamlAt(j.node, "needs")) {
			if result, err := c.evaluate("needs." + needed + ".result"); err != nil || result != jobSuccess || c["cancelled"] == true {
				return false, err
			}
		}
	}
	if condition == "" {
		return true, nil
	}
	value, err := c.evaluate(condition)
	return truthy(value), err
}

// ruleArtifacts follows the artifacts from the builds to the job with the secret.
func ruleArtifacts(w workflow) (complaints []string) {
	if len(w.publishers()) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, j := range w.builders() {
		for _, s := range j.steps {
			if !strings.HasPrefix(yamlText(s, "uses"), "actions/upload-artifact@") {
				continue
			}
			for _, part := range []string{"github.job", "matrix.system", "github.run_attempt"} {
				if !strings.Contains(yamlText(s, "with", "name"), "${{ "+part+" }}") {
					complaints = append(complaints, "job "+j.name+": the name of an artifact is without "+part)
				}
			}
			for _, system := range yamlKeys(yamlAt(j.node, "outputs")) {
				id := fmt.Sprintf("${{ matrix.system == '%s' && steps.%s.outputs.artifact-id || '' }}", system, yamlText(s, "id"))
				if yamlText(j.node, "outputs", system) != id {
					complaints = append(complaints, "job "+j.name+": the output "+system+" is not the ID of its artifact")
				}
				known["${{ needs."+j.name+".outputs."+system+" }}"] = true
			}
		}
	}
	for _, j := range w.publishers() {
		for _, s := range j.steps {
			if ids := yamlText(s, "with", "artifact-ids"); strings.HasPrefix(yamlText(s, "uses"), "actions/download-artifact@") && !known[ids] {
				complaints = append(complaints, "job "+j.name+" downloads "+yamlWords(yamlAt(s, "with")))
			}
		}
	}
	return complaints
}
