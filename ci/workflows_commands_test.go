package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// A variable of a script, quoted or not, and those that the script sets itself.
var (
	variableUsed = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)
	variableSet  = regexp.MustCompile(`(?m)(?:^\s*|for |-r )([A-Za-z_]\w*)(?:=| in |;)`)
)

func ruleVariables(w workflow) []string {
	return eachScript(w, func(step *yaml.Node, script string) (complaints []string) {
		known := append(yamlKeys(yamlAt(step, "env")), "PATH", "HOME")
		for _, match := range variableSet.FindAllStringSubmatch(script, -1) {
			known = append(known, match[1])
		}
		for _, match := range variableUsed.FindAllStringSubmatch(script, -1) {
			name := match[1]
			if !slices.Contains(known, name) && !strings.HasPrefix(name, "GITHUB_") && !strings.HasPrefix(name, "RUNNER_") {
				complaints = append(complaints, "$"+name+" is not set")
			}
		}
		return complaints
	})
}

func ruleCommands(w workflow) []string {
	return eachScript(w, func(_ *yaml.Node, script string) (complaints []string) {
		for _, call := range programCalls(script) {
			words := strings.Fields(call)
			if slices.Contains(words, `"${args[@]}"`) {
				continue // the action's: TestActionCallsTheProgram runs it
			}
			if err := parses(words); err != nil {
				complaints = append(complaints, fmt.Sprintf("%s: %v", call, err))
			}
		}
		return complaints
	})
}

// withValues gives values to the variables of flags that do not take every word.
var withValues = strings.NewReplacer(`="$PIN`, "=true", `="$REBUILD`, "="+off, `$SYSTEM`, string(matrix.X8664Linux))

// parses checks a command line with the program's own flags.
func parses(words []string) error {
	for i, w := range words {
		words[i] = withValues.Replace(strings.Trim(w, `"`))
	}
	c, rest, err := newRoot(process{}).Find(words)
	if err != nil {
		return err
	}
	if c.Name() != words[0] {
		return fmt.Errorf("no command %s", words[0])
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

var matrixKey = regexp.MustCompile(`matrix\.([\w-]+)`)

// ruleMatrixKeys requires each key that a job with our matrix uses in each of its cells.
func ruleMatrixKeys(w workflow) (complaints []string) {
	cells, err := includes(matrix.Expand(matrix.DefaultSystems(), defaultProject.Packages))
	if err != nil {
		return []string{err.Error()}
	}
	for _, j := range w.jobs() {
		if !strings.Contains(yamlText(j.node, "strategy", "matrix"), "fromJSON") {
			continue // actionlint checks its keys, which are in the file
		}
		for _, match := range matrixKey.FindAllStringSubmatch(yamlWords(j.node), -1) {
			for _, cell := range cells {
				if _, ok := cell[match[1]].(string); !ok && match[0] != "matrix.outputs" {
					complaints = append(complaints, fmt.Sprintf("job %s: no %s in %v", j.name, match[0], cell))
				}
			}
		}
	}
	return complaints
}

// includes returns the cells that `matrix --github` prints, as GitHub reads them.
func includes(cells []matrix.Cell) ([]map[string]any, error) {
	data, err := matrix.GitHub(cells)
	if err != nil {
		return nil, err
	}
	value, err := contexts{"needs": needs(map[string]any{"matrix": string(data)}, jobSuccess, jobSuccess)}.expand("${{ fromJSON(needs.plan.outputs.matrix) }}")
	if err != nil {
		return nil, err
	}
	object, _ := value.(map[string]any)
	list, _ := object["include"].([]any)
	var all []map[string]any
	for _, item := range list {
		cell, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("read matrix: %v is no cell", item)
		}
		all = append(all, cell)
	}
	return all, nil
}

// needs is the context of a job after plan, build and rebuild.
func needs(outputs map[string]any, build, rebuild string) map[string]any {
	result := func(outputs map[string]any, result string) map[string]any {
		return map[string]any{"outputs": outputs, "result": result}
	}
	return map[string]any{
		"plan": result(outputs, jobSuccess), "build": result(map[string]any{}, build), "rebuild": result(map[string]any{}, rebuild),
	}
}
