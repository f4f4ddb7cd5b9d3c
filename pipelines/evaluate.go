package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Evaluation is what a flake says of a cell's packages.
type Evaluation []EvaluatedPackage

// EvaluatedPackage is a package's store derivation and the paths of its outputs, in the order of their names.
type EvaluatedPackage struct {
	Package    matrix.Package
	Derivation nix.StorePath
	Outputs    []run.Output
	Defined    *run.Line // in the flake; nil for what an input defines
	// Failure is why there is no derivation: the package does not evaluate, or the flake does not have it.
	Failure *run.Failure
	text    string   // the same in Nix's own words
	hints   []string // what can be done about it
}

// evaluate asks Nix for all packages of the cell. Its error is an [*EvaluationError] where some of them do not evaluate;
// then the evaluation has the others too.
func (r *Release) evaluate(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell) (Evaluation, error) {
	var evaluation Evaluation
	err := r.Step(ctx, run.StepEvaluate, cell.System, func() (string, error) {
		var err error
		if evaluation, err = r.evaluateProtected(ctx, x, s, cell); err != nil {
			return "", err
		}
		for _, p := range evaluation {
			if p.Failure != nil {
				r.Event(run.PackageFailed{System: cell.System, Package: p.Package, Failure: *p.Failure, Text: p.text})
			}
		}
		return run.Count(evaluation.good(), "package"), evaluation.failed(cell.System)
	})
	return evaluation, err
}

// askEvaluation evaluates all packages by one command. Those that throw are evaluated again, one by one, for Nix's reason.
// So are all of them where one has an error that Nix does not let an expression catch, such as an infinite recursion.
func (r *Release) askEvaluation(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell) (Evaluation, error) {
	args, settings, err := r.evaluateArgs(ctx, x, s, cell)
	if err != nil {
		return nil, err
	}
	ask := func(function string) (a answer, err error) {
		trace := &cappedBuffer{limit: maxTrace}
		command := append(slices.Clone(args), "--apply", function)
		out, err := x.Run(ctx, engine.Command{Program: "nix", Args: command, Settings: r.Settings.With(settings), Stderr: trace})
		if err != nil {
			return a, evaluationError(cell, s, trace.String(), err)
		}
		if err := json.Unmarshal(out, &a); err != nil {
			return a, fmt.Errorf("parse evaluation of packages.%s: %v", cell.System, err)
		}
		return a, nil
	}
	all, err := ask(together(cell.Packages))
	if ofFlake(err) {
		all, err = ask(together(nil)) // which fails where it is the flake's fault, and no package's
	}
	if err != nil {
		return nil, err
	}
	var evaluation Evaluation
	for _, name := range cell.Packages {
		p, err := all.of(name, cell.System)
		if err == nil && (p == nil || p.Thrown) {
			listed := p
			var one answer
			if one, err = ask(alone(name)); err != nil && !ofFlake(err) {
				return nil, err
			}
			if p, _ = one.of(name, cell.System); p == nil {
				p = listed
			}
		}
		if err == nil && (p == nil || p.Thrown) {
			return nil, fmt.Errorf("evaluate packages.%s: Nix says nothing of %s", cell.System, name)
		}
		evaluation = append(evaluation, evaluated(s, cell.System, name, p, err))
	}
	return evaluation, nil
}

// ofFlake says whether Nix has ended with an error of its own: not because it was killed, or the engine lost.
func ofFlake(err error) bool {
	var evaluation *EvaluationError
	return errors.As(err, &evaluation)
}

func (r *Release) evaluateArgs(ctx context.Context, x engine.Executor, s run.Snapshot, cell matrix.Cell) ([]string, nix.Settings, error) {
	ref, settings, err := placeFlake(ctx, x, s)
	if err != nil {
		return nil, nil, fmt.Errorf("place snapshot: %w", err)
	}
	args := []string{"eval", "--json", "--show-trace", "--no-write-lock-file"}
	if len(r.Overrides) == 0 {
		// A lock that would have to change is not what consumers evaluate: Nix refuses it.
		args = append(args, "--no-update-lock-file")
	}
	for _, o := range r.Overrides {
		ref := o.Ref
		if o.Dir != "" {
			placed, err := x.AddPath(ctx, o.Dir)
			if err != nil {
				return nil, nil, fmt.Errorf("place override of input %s: %w", o.Input, err)
			}
			ref = (&url.URL{Scheme: "path", Path: placed}).String()
		}
		args = append(args, "--override-input", o.Input, ref)
	}
	return append(args, ref+"#packages."+string(cell.System)), settings, nil
}

// answer is what the functions below return: the names of all packages of a system, and those that were asked for.
type answer struct {
	Names    []string
	Packages map[string]answered
}

type answered struct {
	Thrown     bool // then there is nothing else but where the flake lists it
	Derivation string
	Outputs    map[string]string
	Position   string
}

// of returns what is said of a package; nil where that is nothing. The error is that the flake does not have the package.
func (a answer) of(name matrix.Package, system matrix.System) (*answered, error) {
	if p, ok := a.Packages[string(name)]; ok {
		return &p, nil
	}
	if a.Names != nil && !slices.Contains(a.Names, string(name)) {
		return nil, missingPackage(name, system, a.Names)
	}
	return nil, nil
}

// together returns a function of a system's packages that evaluates several of them. One that throws does not keep the
// others from an answer.
//
// Where a package is defined, nixpkgs notes in meta.position. Without it, it is where its description is, or where the
// flake lists it. A package whose meta cannot be evaluated is built all the same.
func together(packages []matrix.Package) string {
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = nix.Quote(string(p))
	}
	return `ps: {
  names = builtins.attrNames ps;
  packages = builtins.listToAttrs (map (name: {
    inherit name;
    value = let
      value = ` + derivationAndOutputs + `;
      tried = builtins.tryEval (builtins.deepSeq value value);
      meta = builtins.tryEval (ps.${name}.meta or { });
      noted = builtins.tryEval (meta.value.position or null);
      at = attribute: set:
        let p = builtins.unsafeGetAttrPos attribute set;
        in if p == null then null else "${p.file}:${toString p.line}";
      first = positions: builtins.head (builtins.filter builtins.isString (positions ++ [ (at name ps) "" ]));
    in if tried.success then tried.value // {
      position = first (if meta.success then [ noted.value (at "description" meta.value) ] else [ ]);
    } else { thrown = true; position = first [ ]; };
  }) (builtins.filter (name: ps ? ${name}) [ ` + strings.Join(names, " ") + ` ]));
}`
}

const derivationAndOutputs = `{
        derivation = ps.${name}.drvPath;
        outputs = builtins.listToAttrs (map (o: { name = o; value = ps.${name}.${o}.outPath; }) ps.${name}.outputs or [ "out" ]);
      }`

// alone returns a function that evaluates one package and catches nothing. It leaves out the position, whose errors are
// no reason not to build.
func alone(name matrix.Package) string {
	return `ps: {
  packages = let name = ` + nix.Quote(string(name)) + `; in { ${name} = ` + derivationAndOutputs + `; };
}`
}

func evaluated(s run.Snapshot, system matrix.System, name matrix.Package, p *answered, err error) EvaluatedPackage {
	e := EvaluatedPackage{Package: name}
	if err == nil {
		err = e.take(s, system, p)
	}
	if err != nil {
		e = EvaluatedPackage{Package: name, hints: hint.Of(err)}
		e.Failure, e.text = evaluationFailure(err)
		if e.Failure.At == nil && p != nil {
			e.Failure.At = definition(s, p.Position)
		}
	}
	return e
}

// take reads what Nix says of a package. What is no store path is the fault of that package alone.
func (e *EvaluatedPackage) take(s run.Snapshot, system matrix.System, p *answered) (err error) {
	e.Defined = definition(s, p.Position)
	if e.Derivation, err = nix.ParseStorePath(p.Derivation); err != nil {
		return fmt.Errorf("derivation of %s: %w", e.Package, err)
	}
	for output, text := range p.Outputs {
		path, err := outputPath(text, system)
		if err != nil {
			return fmt.Errorf("output %s of %s: %w", output, e.Package, err)
		}
		e.Outputs = append(e.Outputs, run.Output{Name: output, Path: path})
	}
	slices.SortFunc(e.Outputs, func(a, b run.Output) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// results are the packages as they stand before anything is done for them.
func (e Evaluation) results() []run.PackageResult {
	results := make([]run.PackageResult, len(e))
	for i, p := range e {
		results[i] = run.PackageResult{
			Package: p.Package, Verdict: run.Failed, Derivation: p.Derivation, Outputs: slices.Clone(p.Outputs), Defined: p.Defined, Failure: p.Failure,
		}
	}
	return results
}

// cappedBuffer keeps the first bytes that are written to it.
type cappedBuffer struct {
	limit int
	bytes.Buffer
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.limit-b.Len())])
	return len(p), nil
}
