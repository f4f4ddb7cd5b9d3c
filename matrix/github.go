package matrix

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Runner returns the label of GitHub's hosted runner for the system: one with its processor where there is one, otherwise
// one that emulates it.
func (s System) Runner() string {
	if s == AArch64Linux {
		return "ubuntu-24.04-arm"
	}
	return "ubuntu-24.04"
}

// GitHub returns the cells as the value of a job's strategy.matrix on GitHub Actions:
// {"include":[{"system":…,"runner":…,"packages":"a b"}]}.
// See https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax.
func GitHub(cells []Cell) ([]byte, error) {
	type job struct {
		System   System `json:"system"`
		Runner   string `json:"runner"`
		Packages string `json:"packages"`
	}
	include := []job{}
	for _, c := range cells {
		names := make([]string, len(c.Packages))
		for i, p := range c.Packages {
			if strings.Contains(string(p), " ") {
				return nil, fmt.Errorf("make matrix: package %q: a job splits the names at spaces", p)
			}
			names[i] = string(p)
		}
		include = append(include, job{c.System, c.System.Runner(), strings.Join(names, " ")})
	}
	return json.Marshal(map[string][]job{"include": include})
}
