package contract

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Request is about the evaluation of one system.
type Request struct {
	System matrix.System
	// Flake is a locked reference for builtins.getFlake.
	Flake string
	// HomeManager is a reference of Home Manager; empty to use this package's own declarations of its options.
	HomeManager string
}

// Evaluator runs nix eval --json --show-trace --expr, and returns its result, or Nix's message where the expression does
// not evaluate. The error means that Nix could not be run.
type Evaluator func(expression string) (out []byte, message string, err error)

// answer is the answer of evaluate.nix to one question.
type answer struct {
	Value  json.RawMessage `json:"value"`
	Thrown bool            `json:"thrown"`
	why    *nix.EvalError  // of a thrown error, where Nix was asked for its message
}

// evaluation has the answers of one system.
type evaluation struct {
	*Contract
	request  Request
	eval     Evaluator
	answers  map[string]*answer
	packages map[matrix.Package]evaluatedPackage // those that the flake has
}

// Evaluate runs the checks of one evaluation of the flake.
//
// It asks all questions at once. It asks a question that throws again alone, for Nix's message. If an error cannot be
// caught, such as an infinite recursion, it asks each question alone, so that the error does not hide the other
// answers. If a configuration without the module does not evaluate, it does not ask for those with the module. A flake
// that does not evaluate fails its checks. The error means that Nix could not be run.
func (c *Contract) Evaluate(r Request, eval Evaluator) ([]Result, error) {
	e := &evaluation{Contract: c, request: r, eval: eval, packages: map[matrix.Package]evaluatedPackage{}}
	if err := e.ask(); err != nil {
		return nil, err
	}
	for _, name := range c.evaluatedPackages() {
		if p, broken := decode[*evaluatedPackage](e, "package/"+string(name)); broken == nil && p != nil {
			e.packages[name] = *p
		}
	}
	var all findings
	for _, check := range e.checks() {
		all.check(check.name, check.run()...)
	}
	return append(all, e.homeManager()...), nil
}

// ask gets the answers to all questions.
func (e *evaluation) ask() (err error) {
	if err := e.askAll(); err != nil {
		return err
	}
	bare := e.answers[withoutModule]
	if e.HomeManager != nil && (bare == nil || bare.Thrown) {
		if bare, err = e.askAlone(withoutModule); err != nil {
			return err
		}
		if bare.Thrown && len(e.answers) == 0 { // the error cannot be caught, and hides the other answers
			without := *e.Contract
			without.HomeManager = nil
			others := &evaluation{Contract: &without, request: e.request, eval: e.eval}
			if err := others.askAll(); err != nil {
				return err
			}
			e.answers = others.answers
		}
		e.answers[withoutModule] = bare
	}
	for _, check := range append(e.checks(), e.homeChecks()...) {
		name := check.needs
		a := e.answers[name]
		if a != nil && (!a.Thrown || a.why != nil || name == wrongLevel) {
			continue
		}
		if bare != nil && bare.Thrown && (strings.HasPrefix(name, "home/") || strings.HasPrefix(name, "level/")) {
			continue
		}
		if e.answers[name], err = e.askAlone(name); err != nil {
			return err
		}
	}
	return nil
}

// askAll asks all questions at once. There are no answers where an error could not be caught.
func (e *evaluation) askAll() error {
	e.answers = map[string]*answer{}
	out, message, err := e.eval(e.Expression(e.request))
	switch {
	case err != nil:
		return fmt.Errorf("evaluate contract for %s: %w", e.request.System, err)
	case message != "":
		return nil
	}
	if err := json.Unmarshal(out, &e.answers); err != nil {
		return fmt.Errorf("parse evaluation of contract for %s: %v", e.request.System, err)
	}
	return nil
}

// askAlone asks one question. Where it throws, the answer has Nix's message.
func (e *evaluation) askAlone(name string) (*answer, error) {
	out, message, err := e.eval(e.expression(e.request, nix.Quote(name)))
	switch {
	case err != nil:
		return nil, fmt.Errorf("evaluate contract for %s: %s: %w", e.request.System, name, err)
	case message == "":
		return &answer{Value: out}, nil
	}
	why := nix.ParseEvalError(message, e.request.source())
	return &answer{Thrown: true, why: &why}, nil
}

// source returns the store path of the flake's tree; empty where its reference has no hash.
func (r Request) source() nix.StorePath {
	_, query, _ := strings.Cut(r.Flake, "?")
	values, _ := url.ParseQuery(query)
	path, _ := nix.SourcePath(values.Get("narHash"))
	return path
}

// decode returns the value of an answer. Where there is none, it returns why.
func decode[T any](e *evaluation, question string) (value T, broken []Result) {
	a := e.answers[question]
	switch {
	case a == nil:
		return value, fail("the evaluation gives no answer")
	case a.Thrown:
		return value, a.thrown()
	}
	d := json.NewDecoder(bytes.NewReader(a.Value))
	d.UseNumber() // so that 1000000 does not become 1e+06
	if err := d.Decode(&value); err != nil {
		return value, fail("the flake has a value of another type: %v", err)
	}
	return value, nil
}

// thrown returns the failure of a check whose answer throws, with the position in the flake where it is known.
func (a *answer) thrown() []Result {
	if a.why == nil {
		return fail("it does not evaluate")
	}
	broken := fail("it does not evaluate: %s", strings.Join(strings.Fields(a.why.Message), " "))
	file, line, ok := strings.Cut(a.why.Position, ":")
	if ok && !strings.HasPrefix(file, "/") && !strings.HasPrefix(file, "«") {
		broken[0].File = file
		_, _ = fmt.Sscanf(line, "%d", &broken[0].Line)
	}
	return broken
}

//go:embed evaluate.nix
var evaluateNix string

// The attributes of a derivation that determine how it is built and tested.
var (
	featureAttributes = []string{
		"cargoBuildNoDefaultFeatures", "buildNoDefaultFeatures", // of buildRustPackage
		"cargoBuildFlags", "cargoExtraArgs", "buildPhase", "buildCommand",
	}
	testAttributes = []string{"preCheck", "checkPhase", "doCheck"}
)

// badLevel is not a level of any logger.
const badLevel = "contract-loud"

// The module is configured with these values. Their names show their purpose in a message.
var (
	settings = map[string]any{"key_bindings": map[string]any{"g": map[string]any{"apps": []any{"contract-app"}}}}
	profiles = map[string]any{"contract-profile": map[string]any{"launch_profiles": map[string]any{"dev": map[string]any{"env": map[string]any{"RUST_LOG": "debug"}}}}}
)

// evaluatedPackages returns all packages that the contract names, in order.
func (c *Contract) evaluatedPackages() []matrix.Package {
	names := slices.AppendSeq(slices.Clone(c.Outputs.Packages), maps.Keys(c.Packages))
	if c.Outputs.Default != "" {
		names = append(names, c.Outputs.Default, "default")
	}
	if c.PreCheck != nil {
		names = append(names, c.PreCheck.Packages...)
	}
	if hm := c.HomeManager; hm != nil {
		names = append(names, only(hm.Headless.Package != "", hm.Headless.Package)...)
		names = append(names, only(hm.Desktop.Package != "", hm.Desktop.Package)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Expression returns the expression whose value has the answers for [Contract.Evaluate]. It is pure: a flake that is
// given by a locked reference evaluates as it does for its consumers.
func (c *Contract) Expression(r Request) string { return c.expression(r, "null") }

// expression returns the expression for one of the answers, whose errors are not caught; for all where only is "null".
func (c *Contract) expression(r Request, only string) string {
	ask, err := json.Marshal(map[string]any{
		"contract": c, "packages": c.evaluatedPackages(), "attributes": slices.Concat(featureAttributes, testAttributes),
		"badLevel": badLevel, "homeManager": r.HomeManager, "settings": settings, "profiles": profiles,
	})
	if err != nil {
		panic(err) // it has only strings, numbers and booleans
	}
	return "(" + evaluateNix + ") {\n" +
		"  flake = builtins.getFlake " + nix.Quote(r.Flake) + ";\n" +
		"  system = " + nix.Quote(string(r.System)) + ";\n" +
		"  ask = builtins.fromJSON " + nix.Quote(string(ask)) + ";\n" +
		"  only = " + only + ";\n}"
}
