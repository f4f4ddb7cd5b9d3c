package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Evaluator runs nix eval --json --show-trace --expr, and returns its result, or what it has said where the expression does not evaluate.
// The error is one of running Nix at all.
type Evaluator func(expression string) (out []byte, said string, err error)

// answer is what evaluate.nix says to one question.
type answer struct {
	Value  json.RawMessage `json:"value"`
	Thrown bool            `json:"thrown"`
	why    *nix.EvalError  // of a thrown one, where Nix was asked for its words
}

type answers map[string]*answer

// Evaluate judges all that one evaluation of the flake tells.
//
// Nix is asked once. What has thrown is asked again, alone, for Nix to say why; and where an error cannot be caught,
// such as an infinite recursion, each question is asked alone, so that one promise that cannot be looked at does not hide the others.
// Where a configuration without the module does not evaluate, those with the module are not asked for.
// A flake that cannot be evaluated breaks its promises; the error is one of running Nix at all.
func (c *Contract) Evaluate(r Request, eval Evaluator) ([]Result, error) {
	found, err := c.ask(r, eval)
	if err != nil {
		return nil, err
	}
	if bare := found[withoutModule]; c.HomeManager != nil && (bare == nil || bare.Thrown) {
		if bare, err = c.askAlone(r, eval, withoutModule); err != nil {
			return nil, err
		}
		if bare.Thrown && len(found) == 0 { // the error cannot be caught, and has hidden the other answers
			without := *c
			without.HomeManager = nil
			if found, err = without.ask(r, eval); err != nil {
				return nil, err
			}
		}
		found[withoutModule] = bare
	}
	for _, name := range c.questions() {
		switch a, bare := found[name], found[withoutModule]; {
		case name == withoutModule, a != nil && (!a.Thrown || name == wrongLevel):
			continue
		case bare != nil && bare.Thrown && (strings.HasPrefix(name, "home/") || strings.HasPrefix(name, "level/")):
			continue
		}
		if found[name], err = c.askAlone(r, eval, name); err != nil {
			return nil, err
		}
	}
	return c.check(r, found), nil
}

// ask asks all questions at once. There are no answers where an error could not be caught.
func (c *Contract) ask(r Request, eval Evaluator) (answers, error) {
	found := answers{}
	out, said, err := eval(c.Expression(r))
	switch {
	case err != nil:
		return nil, fmt.Errorf("evaluate contract for %s: %w", r.System, err)
	case said != "":
		return found, nil
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("parse evaluation of contract for %s: %v", r.System, err)
	}
	return found, nil
}

// askAlone asks one question, and where it throws, why.
func (c *Contract) askAlone(r Request, eval Evaluator, name string) (*answer, error) {
	out, said, err := eval(c.alone(r, name))
	switch {
	case err != nil:
		return nil, fmt.Errorf("evaluate contract for %s: %s: %w", r.System, name, err)
	case said == "":
		return &answer{Value: out}, nil
	}
	why := nix.ParseEvalError(said, r.source())
	return &answer{Thrown: true, why: &why}, nil
}

// source returns where Nix keeps the flake's tree; empty where its reference does not tell.
func (r Request) source() nix.StorePath {
	_, query, _ := strings.Cut(r.Flake, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	path, err := nix.SourcePath(values.Get("narHash"))
	if err != nil {
		return ""
	}
	return path
}

const (
	// wrongLevel is the answer that is to be an error.
	wrongLevel = "level/" + badLevel
	// bareHome is what a configuration without the module has.
	withoutModule = "home/bare"
)

// modes are the ways in which evaluate.nix configures the module.
var modes = []string{"disabled", "headless", "desktop", "package", "both", "settings", "profiles"}

// questions returns the names of all answers.
func (c *Contract) questions() []string {
	var names []string
	if c.HomeManager != nil {
		names = append(names, withoutModule)
		for _, mode := range modes {
			names = append(names, "home/"+mode)
		}
	}
	for _, check := range c.evaluated() {
		names = append(names, check.question)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// check compares the answers with the contract.
func (c *Contract) check(r Request, found answers) []Result {
	e := &evaluation{
		Contract: c, recorder: &recorder{system: r.System}, request: r, answers: found,
		packages: map[matrix.Package]evaluatedPackage{},
	}
	for _, check := range c.evaluated() {
		if check.run != nil {
			check.run(e, check.name)
		}
	}
	e.homeManager()
	return e.results
}

// evaluation is one system's answers on their way to a verdict.
type evaluation struct {
	*Contract
	*recorder
	request  Request
	answers  answers
	packages map[matrix.Package]evaluatedPackage // those that are there
}

// read decodes an answer. Where there is none, it reports that for the check, and returns false.
func (e *evaluation) read(check, name string, into any) bool {
	a := e.answers[name]
	switch {
	case a == nil:
		e.fail(check, "the evaluation does not tell")
		return false
	case a.Thrown:
		e.add(thrown(check, a.why))
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(a.Value))
	decoder.UseNumber() // a limit of 1000000 is not one of 1e+06
	if err := decoder.Decode(into); err != nil {
		e.fail(check, "the flake gives something of another type: %v", err)
		return false
	}
	return true
}

// thrown is a check that Nix has failed for us, with the place in the flake where it is known.
func thrown(check string, said *nix.EvalError) Result {
	r := Result{Check: check, Status: Fail, Reason: "it does not evaluate"}
	if said == nil {
		return r
	}
	r.Reason = "it does not evaluate: " + strings.Join(strings.Fields(said.Message), " ")
	file, place, ok := strings.Cut(said.Position, ":")
	if ok && !strings.HasPrefix(file, "/") && !strings.HasPrefix(file, "«") {
		r.File = file
		_, _ = fmt.Sscanf(place, "%d", &r.Line)
	}
	return r
}
