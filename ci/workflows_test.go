package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/rhysd/actionlint"

	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/scaffold"
)

// workflow is a workflow, or an action: a YAML file that GitHub runs.
type workflow struct {
	name  string
	lines []string
	root  *yaml.Node
}

// job is a job of a workflow; the steps of an action count as one.
type job struct {
	name  string
	node  *yaml.Node
	steps []*yaml.Node
}

func parseWorkflow(t *testing.T, name, text string) workflow {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return workflow{name, strings.Split(text, "\n"), document.Content[0]}
}

// readWorkflows reads all workflows and actions of this repository, and makes the one that init writes.
func readWorkflows(t *testing.T) []workflow {
	t.Helper()
	files, err := filepath.Glob("../.github/workflows/*.y*ml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found workflows %v, %v", files, err)
	}
	var all []workflow
	for _, file := range append(files, "../action.yml") {
		all = append(all, readWorkflow(t, file))
	}
	return append(all, parseWorkflow(t, scaffold.WorkflowFile, initWorkflow(t)))
}

// initWorkflow returns the workflow that init writes for a flake that publishes to a cache.
func initWorkflow(t *testing.T) string {
	t.Helper()
	p := project.Default()
	p.Cachix, p.PublicKey, p.ServedBy = "mine", "mine.cachix.org-1:AAAA", "https://mine.cachix.org"
	text, err := scaffold.Workflow(p, build{version: "1.2.3", commit: "0123456789abcdef0123456789abcdef01234567"}.action())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readWorkflow(t *testing.T, file string) workflow {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseWorkflow(t, strings.TrimPrefix(filepath.ToSlash(file), "../"), string(text))
}

// isAction reports whether the file is an action, which has neither events nor permissions.
func (w workflow) isAction() bool { return yamlAt(w.root, "runs") != nil }

func (w workflow) jobs() []job {
	if w.isAction() {
		return []job{{"runs", yamlAt(w.root, "runs"), yamlItems(yamlAt(w.root, "runs", "steps"))}}
	}
	var jobs []job
	for _, name := range yamlKeys(yamlAt(w.root, "jobs")) {
		node := yamlAt(w.root, "jobs", name)
		jobs = append(jobs, job{name, node, yamlItems(yamlAt(node, "steps"))})
	}
	return jobs
}

func (w workflow) job(t *testing.T, name string) job {
	t.Helper()
	i := slices.IndexFunc(w.jobs(), func(j job) bool { return j.name == name })
	if i < 0 {
		t.Fatalf("%s has no job %s", w.name, name)
	}
	return w.jobs()[i]
}

// step returns the step of a job that contains the text.
func (j job) step(t *testing.T, text string) *yaml.Node {
	t.Helper()
	for _, s := range j.steps {
		if strings.Contains(yamlWords(s), text) {
			return s
		}
	}
	t.Fatalf("job %s has no step with %q", j.name, text)
	return nil
}

// yamlAt follows a path of keys. It returns nil if one is missing.
func yamlAt(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		i := slices.Index(yamlKeys(n), key)
		if i < 0 {
			return nil
		}
		n = yamlTarget(n.Content[2*i+1])
	}
	return n
}

// yamlTarget returns the node that an alias names, or else the node itself.
func yamlTarget(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// yamlText returns the scalar at the path; empty if there is none.
func yamlText(n *yaml.Node, path ...string) string {
	if n = yamlAt(n, path...); n == nil {
		return ""
	}
	return n.Value
}

// yamlKeys returns the keys of a mapping in their order, or the words of a list or a scalar, as `on` can be.
func yamlKeys(n *yaml.Node) []string {
	var keys []string
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			keys = append(keys, n.Content[i].Value)
		}
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			keys = append(keys, item.Value)
		}
	default:
		keys = []string{n.Value}
	}
	return keys
}

func yamlItems(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// yamlWords returns all words of a node, one a line.
func yamlWords(n *yaml.Node) string {
	if n = yamlTarget(n); n == nil {
		return ""
	}
	words := n.Value
	for _, child := range n.Content {
		words += "\n" + yamlWords(child)
	}
	return words
}

// A call of the program, by go run or as a built binary; not the command that builds it.
var programCall = regexp.MustCompile(`(-o )?(?:go run \./ci|"\$RUNNER_TEMP/ci") ([^)\n]+)`)

// programCalls returns the arguments of each call of the program in a shell script, as they are written.
func programCalls(script string) []string {
	var calls []string
	for _, match := range programCall.FindAllStringSubmatch(script, -1) {
		if match[1] == "" {
			calls = append(calls, strings.TrimSpace(match[2]))
		}
	}
	return calls
}

func TestWorkflowsKeepTheRules(t *testing.T) {
	for _, w := range readWorkflows(t) {
		for _, rule := range workflowRules {
			for _, complaint := range rule.check(w) {
				t.Errorf("%s: %s: %s (%s)", w.name, rule.name, complaint, rule.because)
			}
		}
	}
}

// All uses of an action have the same version.
func TestWorkflowsUseOneVersionOfAnAction(t *testing.T) {
	use := regexp.MustCompile(`uses: ([\w./-]+)@(.*)`)
	versions := map[string]string{}
	for _, w := range readWorkflows(t) {
		for number, line := range w.lines {
			m := use.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if first := versions[m[1]]; first != "" && first != m[2] {
				t.Errorf("%s:%d: %s is %s here and %s elsewhere", w.name, number+1, m[1], m[2], first)
			}
			versions[m[1]] = m[2]
		}
	}
}

// A workflow that keeps all rules.
const goodWorkflow = `
on:
  workflow_call:
  pull_request:
permissions:
  contents: read
concurrency:
  group: nix-${{ github.event_name == 'pull_request' && github.event.pull_request.number || github.run_id }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}
jobs:
  build:
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    strategy: &strategy
      matrix: ${{ fromJSON(needs.plan.outputs.matrix) }}
    outputs: &artifacts
      x86_64-linux: ${{ matrix.system == 'x86_64-linux' && steps.artifact.outputs.artifact-id || '' }}
    steps: &steps
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - run: exec "$RUNNER_TEMP/ci" build --ref "$REF" --system "$SYSTEM"
        env:
          REF: ${{ inputs.tag }}
          SYSTEM: ${{ matrix.system }}
      - uses: actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1
        id: artifact
        with:
          name: nix-${{ github.job }}-${{ matrix.system }}-${{ github.run_attempt }}
  rebuild:
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    strategy: *strategy
    outputs: *artifacts
    steps: *steps
  publish:
    needs: [build, rebuild]
    if: >-
      !cancelled() && needs.build.result == 'success' &&
      needs.rebuild.result == (needs.plan.outputs.rebuild == 'true' && 'success' || 'skipped') &&
      (!github.event.pull_request || github.event.pull_request.head.repo.full_name == github.repository)
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          repository: ${{ job.workflow_repository }}
          ref: ${{ job.workflow_sha }}
          persist-credentials: false
      - uses: actions/setup-go@b7ad1dad31e06c5925ef5d2fc7ad053ef454303e # v7.0.0
        with:
          go-version-file: go.mod
          cache: false
      - uses: actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1
        with:
          artifact-ids: ${{ needs.build.outputs.x86_64-linux }}
      - run: exec "$RUNNER_TEMP/ci" publish builds --pin=false
        env:
          SCOPE_CREEP_CACHIX_PRIVATE_KEY: ${{ secrets.SCOPE_CREEP_CACHIX_PRIVATE_KEY }}
  attest:
    needs: publish
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
      id-token: write
      attestations: write
    steps:
      - uses: actions/attest-build-provenance@a2bbfa25375fe432b6a289bc6b6cd05ecd0c4c32 # v4.1.0
`

// Each mutant breaks one rule, and only that rule detects it.
func TestWorkflowRulesCatchMutants(t *testing.T) {
	good := parseWorkflow(t, "good", goodWorkflow)
	for _, rule := range workflowRules {
		if complaints := rule.check(good); len(complaints) > 0 {
			t.Errorf("a good workflow: %s: %v", rule.name, complaints)
		}
		if len(rule.mutants) == 0 {
			t.Errorf("nothing shows that the rule %q can fail", rule.name)
		}
		for _, m := range rule.mutants {
			if !strings.Contains(goodWorkflow, m.old) {
				t.Errorf("%s: the good workflow has no %q", rule.name, m.old)
			}
			mutant := parseWorkflow(t, "mutant", strings.Replace(goodWorkflow, m.old, m.new, 1))
			for _, other := range workflowRules {
				if caught := len(other.check(mutant)) > 0; caught != (other.name == rule.name) {
					t.Errorf("%q in place of %q: caught by %q: %t", m.new, m.old, other.name, caught)
				}
			}
		}
	}
}

// actionlint accepts the workflow that init writes. Those of this repository are among the linters of make lint.
func TestInitWorkflowPassesActionlint(t *testing.T) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) (messages []string) {
		found, err := linter.Lint(scaffold.WorkflowFile, []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			messages = append(messages, e.Error())
		}
		return messages
	}
	if found := check(initWorkflow(t)); len(found) > 0 {
		t.Errorf("actionlint: %q", found)
	}
	if len(check(strings.Replace(initWorkflow(t), "matrix.runner", "matrix.runer", 1))) == 0 {
		t.Error("actionlint finds nothing in a workflow with a mistake")
	}
}

// A pull request has no secret, and does not release.
func TestInitWorkflowForEachEvent(t *testing.T) {
	w := parseWorkflow(t, "init", initWorkflow(t))
	for event, want := range map[string][3]bool{"pull_request": {true, false, false}, "push": {true, true, true}} {
		c := contexts{"github": map[string]any{"event_name": event}, "needs": needs(nil, jobSuccess, jobSuccess)}
		for i, name := range []string{"build", "rebuild", "publish"} {
			if got, err := c.starts(w.job(t, name)); err != nil || got != want[i] {
				t.Errorf("on %s: job %s starts: %t (%v), want %t", event, name, got, err, want[i])
			}
		}
	}
	for _, role := range []string{"build", ""} {
		text := strings.Replace(initWorkflow(t), "role: publish", "role: "+role, 1)
		if len(rulePublisherRunsNothing(parseWorkflow(t, "init", text))) == 0 {
			t.Errorf("the job with the secret may have the role %q", role)
		}
	}
	known := yamlKeys(yamlAt(readWorkflow(t, "../action.yml").root, "inputs"))
	for _, name := range []string{"build", "rebuild", "publish"} {
		for _, input := range yamlKeys(yamlAt(w.job(t, name).step(t, toolName), "with")) {
			if !slices.Contains(known, input) {
				t.Errorf("action.yml has no input %s", input)
			}
		}
	}
}

func TestActionOfABuild(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for want, b := range map[string]build{
		"v1.2.3":             {version: "1.2.3"},
		commit + " # v1.2.3": {version: "1.2.3", commit: commit},
		commit + " # v1.2.4": {version: "1.2.4", commit: commit + "-dirty", modified: true},
		"v1.2.5":             {version: "1.2.5", commit: commit[:12]}, // GitHub takes only full commits
	} {
		if got := b.action(); got != want {
			t.Errorf("%v: %s, want %s", b, got, want)
		}
	}
}
