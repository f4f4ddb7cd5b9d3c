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

// Evaluator runs nix eval --json --show-trace --expr, and returns its result, or Nix's message where the expression does
// not evaluate. The error means that Nix could not be run.
type Evaluator func(expression string) (out []byte, said string, err error)

// answer is the answer of evaluate.nix to one question.
type answer struct {
	Value  json.RawMessage `json:"value"`
	Thrown bool            `json:"thrown"`
	why    *nix.EvalError  // of a thrown error, where Nix was asked for its message
}

type answers map[string]*answer

// Evaluate runs the checks of one evaluation of the flake.
//
// All questions are asked at once. A question that throws is asked again alone, for Nix's message. Where an error cannot
// be caught, such as an infinite recursion, each question is asked alone, so that it does not hide the other answers.
// Where a configuration without the module does not evaluate, those with the module are not asked for.
// A flake that does not evaluate fails its checks. The error means that Nix could not be run.
func (c *Contract) Evaluate(r Request, eval Evaluator) ([]Result, error) {
	found, err := c.ask(r, eval)
	if err != nil {
		return nil, err
	}
	if bare := found[withoutModule]; c.HomeManager != nil && (bare == nil || bare.Thrown) {
		if bare, err = c.askAlone(r, eval, withoutModule); err != nil {
			return nil, err
		}
		if bare.Thrown && len(found) == 0 { // the error cannot be caught, and hides the other answers
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

// askAlone asks one question. Where it throws, the answer has Nix's message.
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

// source returns the store path of the flake's tree; empty where its reference has no hash.
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
	// wrongLevel is the answer that has to be an error.
	wrongLevel = "level/" + badLevel
	// withoutModule is a configuration without the module.
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

// evaluation has the answers of one system, and the results so far.
type evaluation struct {
	*Contract
	*recorder
	request  Request
	answers  answers
	packages map[matrix.Package]evaluatedPackage // those that the flake has
}

// read decodes an answer. Where there is none, it reports a failure of the check and returns false.
func (e *evaluation) read(check, name string, into any) bool {
	a := e.answers[name]
	switch {
	case a == nil:
		e.fail(check, "the evaluation gives no answer")
		return false
	case a.Thrown:
		e.add(thrown(check, a.why))
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(a.Value))
	decoder.UseNumber() // so that 1000000 does not become 1e+06
	if err := decoder.Decode(into); err != nil {
		e.fail(check, "the flake has a value of another type: %v", err)
		return false
	}
	return true
}

// thrown returns the failure of a check whose answer throws, with the position in the flake where it is known.
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
