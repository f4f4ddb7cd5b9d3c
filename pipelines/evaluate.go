package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Evaluation is what a flake says of a cell's packages.
type Evaluation []EvaluatedPackage

// EvaluatedPackage is a package's store derivation and the paths of its outputs, in the order of their names.
type EvaluatedPackage struct {
	Package    matrix.Package
	Derivation nix.StorePath
	Outputs    []Output
	Defined    *Line // in the flake; nil for what an input defines
}

// evaluate asks Nix once for all packages of the cell.
func (r *Release) evaluate(ctx context.Context, x Executor, s Snapshot, cell matrix.Cell) (Evaluation, error) {
	var evaluation Evaluation
	err := r.step(ctx, StepEvaluate, cell.System, func() (string, error) {
		var err error
		evaluation, err = r.askEvaluation(ctx, x, s, cell)
		return count(len(evaluation), "package"), err
	})
	return evaluation, err
}

func (r *Release) askEvaluation(ctx context.Context, x Executor, s Snapshot, cell matrix.Cell) (Evaluation, error) {
	args, settings, err := r.evaluateArgs(ctx, x, s, cell)
	if err != nil {
		return nil, err
	}
	trace := &cappedBuffer{limit: maxTrace}
	out, err := x.Run(ctx, Command{Program: "nix", Args: args, Settings: r.Settings.With(settings), Stderr: trace})
	if err != nil {
		return nil, evaluationError(cell, s, trace.String(), err)
	}
	return parseEvaluation(out, s, cell)
}

func (r *Release) evaluateArgs(ctx context.Context, x Executor, s Snapshot, cell matrix.Cell) ([]string, nix.Settings, error) {
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
			placed, err := x.Place(ctx, o.Dir)
			if err != nil {
				return nil, nil, fmt.Errorf("place override of input %s: %w", o.Input, err)
			}
			ref = (&url.URL{Scheme: "path", Path: placed}).String()
		}
		args = append(args, "--override-input", o.Input, ref)
	}
	return append(args, ref+"#packages."+string(cell.System), "--apply", evaluateExpression(cell)), settings, nil
}

// evaluateExpression returns a function of a system's packages: those wanted, and the names of all.
// Where a package is defined, nixpkgs notes in meta.position. Without it, it is where its description is, or where the
// flake lists it. A package whose meta cannot be evaluated is built all the same.
func evaluateExpression(cell matrix.Cell) string {
	names := make([]string, len(cell.Packages))
	for i, p := range cell.Packages {
		names[i] = strconv.Quote(string(p))
	}
	return `ps: {
  names = builtins.attrNames ps;
  packages = builtins.listToAttrs (map (name: {
    inherit name;
    value = {
      derivation = ps.${name}.drvPath;
      outputs = builtins.listToAttrs (map (o: { name = o; value = ps.${name}.${o}.outPath; }) ps.${name}.outputs or [ "out" ]);
      position = let
        meta = builtins.tryEval (ps.${name}.meta or { });
        noted = builtins.tryEval (meta.value.position or null);
        at = attribute: set:
          let p = builtins.unsafeGetAttrPos attribute set;
          in if p == null then null else "${p.file}:${toString p.line}";
        first = builtins.filter builtins.isString (
          (if meta.success then [ noted.value (at "description" meta.value) ] else [ ]) ++ [ (at name ps) "" ]);
      in builtins.head first;
    };
  }) (builtins.filter (name: ps ? ${name}) [ ` + strings.Join(names, " ") + ` ]));
}`
}

func parseEvaluation(data []byte, s Snapshot, cell matrix.Cell) (Evaluation, error) {
	var found struct {
		Names    []matrix.Package
		Packages map[matrix.Package]struct {
			Derivation nix.StorePath
			Outputs    map[string]nix.StorePath
			Position   string
		}
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("parse evaluation of packages.%s: %v", cell.System, err)
	}
	var evaluation Evaluation
	for _, name := range cell.Packages {
		p, ok := found.Packages[name]
		if !ok {
			return nil, missingPackage(name, cell.System, found.Names)
		}
		e := EvaluatedPackage{Package: name, Derivation: p.Derivation, Defined: definition(s, p.Position)}
		for output, path := range p.Outputs {
			e.Outputs = append(e.Outputs, Output{Name: output, Path: path})
		}
		slices.SortFunc(e.Outputs, func(a, b Output) int { return strings.Compare(a.Name, b.Name) })
		evaluation = append(evaluation, e)
	}
	return evaluation, nil
}

func missingPackage(name matrix.Package, system matrix.System, names []matrix.Package) error {
	err := fmt.Errorf("evaluate flake: no package %s for %s", name, system)
	if near := hint.Nearest(string(name), names, 1); len(near) > 0 {
		return hint.Wrap(err, "did you mean --package %s? the flake has %s", near[0], joined(names))
	}
	return hint.Wrap(err, "the flake has %s", joined(names))
}

func joined[T ~string](names []T) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = string(n)
	}
	return strings.Join(s, ", ")
}

// results are the packages as they stand before anything is done for them.
func (e Evaluation) results() []PackageResult {
	results := make([]PackageResult, len(e))
	for i, p := range e {
		results[i] = PackageResult{Package: p.Package, Verdict: Failed, Derivation: p.Derivation, Outputs: slices.Clone(p.Outputs), Defined: p.Defined}
	}
	return results
}

// EvaluationError is a flake's own fault: Nix ran, and could not evaluate it.
type EvaluationError struct {
	System matrix.System
	// Text is Nix's innermost error, with its position and excerpt; several lines.
	Text string
	// At is that position, where it is in the flake's own tree.
	At *Line
}

func (e *EvaluationError) Error() string {
	return fmt.Sprintf("evaluate packages.%s: %s", e.System, e.Text)
}

// maxTrace is enough for the longest trace of Nix, which is cut by itself beyond some thousand frames.
const maxTrace = 8 << 20

// evaluationError turns what Nix said into what a person needs of it.
func evaluationError(cell matrix.Cell, s Snapshot, stderr string, err error) error {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("evaluate packages.%s: %w", cell.System, err)
	}
	source, _ := nix.SourcePath(s.NARHash) // without it, positions keep their whole path
	said := nix.ParseEvalError(stderr, source)
	evaluation := &EvaluationError{System: cell.System, Text: said.String(), At: positionOf(s, said.Position)}
	switch {
	case said.Message == "":
		return fmt.Errorf("evaluate packages.%s: %w", cell.System, err)
	case strings.Contains(said.Message, "does not provide attribute"):
		evaluation.Text = fmt.Sprintf("the flake has no packages.%s", cell.System)
		return hint.Wrap(evaluation, "leave the system out with --system, or add it to the flake")
	case strings.Contains(said.Message, "unable to download"):
		return hint.Wrap(evaluation, "an input could not be fetched: check the network, and GitHub's limits for those without a token; then run the same command again")
	case strings.Contains(said.Message, "lock file"):
		return hint.Wrap(evaluation, "lock the inputs and commit the result: nix flake lock")
	case strings.Contains(said.Message, "does not exist") && len(s.Untracked) > 0:
		return hint.Wrap(evaluation, "Nix sees only files that git tracks; untracked here: %s", strings.Join(s.Untracked, ", "))
	}
	return evaluation
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
