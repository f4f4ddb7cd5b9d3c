package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// evaluated is the result of a package's evaluation.
type evaluated struct {
	run.PackageResult
	text  string   // the failure in Nix's own words
	hints []string // about the failure
}

// evaluate asks Nix for all packages of the cell. If some of them do not evaluate, the error is an [*EvaluationError],
// and the others have their results.
func (c *cell) evaluate(ctx context.Context) error {
	return c.Step(ctx, run.StepEvaluate, c.System, func() (string, error) {
		packages, err := c.evaluateProtected(ctx)
		if none := (*EvaluationError)(nil); c.EverySystem && errors.As(err, &none) && none.noPackages {
			if err = c.checkAbsent(ctx, none); err == nil {
				c.absent, c.result.Packages = true, nil
				return "", run.Skipped(none.Text)
			}
		}
		if err == nil && c.mayBeAbsent() {
			err = c.needsEmulator()
		}
		if err != nil {
			return "", err
		}
		c.result.Packages = nil
		good := 0
		for _, p := range packages {
			if c.result.Packages = append(c.result.Packages, p.PackageResult); p.Failure == nil {
				good++
				continue
			}
			c.Event(run.PackageFailed{System: c.System, Package: p.Package, Failure: *p.Failure, Text: p.text})
		}
		return run.Count(good, "package"), failedEvaluation(c.System, packages)
	})
}

// checkAbsent returns an error unless the flake lists its systems and lacks the one of the cell. Nix's message about a
// missing attribute is not enough to leave a system out: a package can throw the same words.
func (c *cell) checkAbsent(ctx context.Context, none *EvaluationError) error {
	if none.exit == nil {
		return nil // Nix has listed the packages: there are none
	}
	args, settings, err := c.evaluateArgs(ctx, "packages")
	if err != nil {
		return err
	}
	args = append(args, "--apply", "builtins.attrNames")
	out, err := c.exec.Run(ctx, engine.Command{Program: "nix", Args: args, Settings: c.Settings.With(settings)})
	var systems []string
	if err == nil {
		err = json.Unmarshal(out, &systems)
	}
	if err != nil || slices.Contains(systems, "drvPath") { // a package with the name packages comes first
		return none.withHint()
	}
	if slices.Contains(systems, string(c.System)) {
		return fmt.Errorf("evaluate packages.%s: Nix reports a missing attribute, and the flake has packages for the system", c.System)
	}
	return nil
}

// anyEvaluated reports whether a package of the cell has a derivation.
func (c *cell) anyEvaluated() bool {
	return slices.ContainsFunc(c.result.Packages, func(p run.PackageResult) bool { return p.Derivation != "" })
}

// evaluatePackages evaluates all packages with one command. It evaluates those that throw again, alone, for Nix's message.
// It does so with all packages if one has an error that an expression cannot catch, such as an infinite recursion.
func (c *cell) evaluatePackages(ctx context.Context) ([]evaluated, error) {
	args, settings, err := c.evaluateArgs(ctx, "packages."+string(c.System))
	if err != nil {
		return nil, err
	}
	ask := func(function string) (a answer, err error) {
		trace := &cappedBuffer{limit: maxTrace}
		command := append(slices.Clone(args), "--apply", function)
		out, err := c.exec.Run(ctx, engine.Command{Program: "nix", Args: command, Settings: c.Settings.With(settings), Stderr: trace})
		if err != nil {
			return a, evaluationError(c.System, c.snapshot, trace.String(), err)
		}
		if err := json.Unmarshal(out, &a); err != nil {
			return a, fmt.Errorf("parse evaluation of packages.%s: %v", c.System, err)
		}
		return a, nil
	}
	wanted := allDerivations
	if len(c.Packages) > 0 {
		wanted = listOf(c.Packages)
	}
	all, err := ask(together(wanted))
	if isEvaluationError(err) {
		all, err = ask(together("[ ]")) // fails if the flake itself does not evaluate
		all.Packages = nil
	}
	if err != nil {
		return nil, err
	}
	names := c.Packages
	if len(names) == 0 {
		if names = c.namesOf(all); len(names) == 0 {
			return nil, missingPackages(c.System).withHint()
		}
	}
	var packages []evaluated
	for _, name := range names {
		p, err := all.of(name, c.System)
		if err == nil && (p == nil || p.Thrown) {
			listed := p
			var one answer
			if one, err = ask(alone(name)); err != nil && !isEvaluationError(err) {
				return nil, err
			}
			if p, _ = one.of(name, c.System); p == nil {
				p = listed
			}
		}
		if err == nil && (p == nil || p.Thrown) {
			return nil, fmt.Errorf("evaluate packages.%s: Nix says nothing of %s", c.System, name)
		}
		packages = append(packages, c.evaluated(name, p, err))
	}
	if len(c.Packages) == 0 {
		packages = withoutDefault(packages)
	}
	return packages, nil
}

// namesOf returns the names of all derivations of the system; of all attributes if Nix could only list these.
func (c *cell) namesOf(all answer) (names []matrix.Package) {
	found := all.Names
	if all.Packages != nil {
		found = slices.Sorted(maps.Keys(all.Packages))
	}
	for _, text := range found {
		name, err := matrix.ParsePackage(text)
		if err != nil {
			c.Warn(c.System, "leave out a package: %v", err)
			continue
		}
		names = append(names, name)
	}
	return names
}

// withoutDefault leaves out the package default if it is the same derivation as another one, or fails in the same way.
func withoutDefault(packages []evaluated) []evaluated {
	return slices.DeleteFunc(packages, func(d evaluated) bool {
		return d.Package == "default" && slices.ContainsFunc(packages, func(p evaluated) bool {
			return p.Package != "default" && p.Derivation == d.Derivation && p.text == d.text
		})
	})
}

// isEvaluationError reports whether evaluation failed, rather than Nix being killed or the engine lost.
func isEvaluationError(err error) bool {
	var evaluation *EvaluationError
	return errors.As(err, &evaluation)
}

func (c *cell) evaluateArgs(ctx context.Context, attribute string) ([]string, nix.Settings, error) {
	ref, settings, err := c.copyFlakeToStore(ctx)
	if err != nil {
		return nil, nil, err
	}
	args := []string{"eval", "--json", "--show-trace", "--no-write-lock-file"}
	if len(c.Overrides) == 0 {
		// Consumers do not evaluate a flake whose lock has to change: Nix refuses it.
		args = append(args, "--no-update-lock-file")
	}
	for _, o := range c.Overrides {
		ref := o.Ref
		if o.Dir != "" {
			copied, err := c.exec.AddPath(ctx, o.Dir)
			if err != nil {
				return nil, nil, fmt.Errorf("place override of input %s: %w", o.Input, err)
			}
			ref = (&url.URL{Scheme: "path", Path: copied}).String()
		}
		args = append(args, "--override-input", o.Input, ref)
	}
	return append(args, ref+"#"+attribute), settings, nil
}

// answer is the result of the functions below: the names of all packages of a system, and the requested packages.
type answer struct {
	Names    []string
	Packages map[string]answered
}

type answered struct {
	Thrown     bool // only Position is set then
	Derivation string
	Outputs    map[string]string
	Position   string
}

// of returns the answer about a package; nil if there is none. The error says that the flake lacks the package.
func (a answer) of(name matrix.Package, system matrix.System) (*answered, error) {
	if p, ok := a.Packages[string(name)]; ok {
		return &p, nil
	}
	if a.Names != nil && !slices.Contains(a.Names, string(name)) {
		return nil, missingPackage(name, system, a.Names)
	}
	return nil, nil
}

// allDerivations is the list of all of a system's packages. One whose evaluation throws is among them.
const allDerivations = `(builtins.filter (name:
    let type = builtins.tryEval (ps.${name}.type or "");
    in !type.success || type.value == "derivation") (builtins.attrNames ps))`

// listOf returns a list of names as a Nix expression.
func listOf(packages []matrix.Package) string {
	names := make([]string, len(packages))
	for i, p := range packages {
		names[i] = nix.Quote(string(p))
	}
	return "[ " + strings.Join(names, " ") + " ]"
}

// together returns a function that evaluates several of a system's packages. The others have an answer if one throws.
//
// The position of a package is meta.position of nixpkgs, or else that of its description, or where the flake lists it. A
// package whose meta does not evaluate is built all the same.
func together(names string) string {
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
  }) (builtins.filter (name: ps ? ${name}) ` + names + `));
}`
}

const derivationAndOutputs = `{
        derivation = ps.${name}.drvPath;
        outputs = builtins.listToAttrs (map (o: { name = o; value = ps.${name}.${o}.outPath; }) ps.${name}.outputs or [ "out" ]);
      }`

// alone returns a function that evaluates one package and catches nothing. It leaves out the position, whose errors must
// not prevent the build.
func alone(name matrix.Package) string {
	return `ps: {
  packages = let name = ` + nix.Quote(string(name)) + `; in { ${name} = ` + derivationAndOutputs + `; };
}`
}

// evaluated returns the result of a package from Nix's answer, or from the error about it.
func (c *cell) evaluated(name matrix.Package, p *answered, err error) evaluated {
	e := evaluated{PackageResult: run.PackageResult{Package: name, Verdict: run.Failed}}
	if err == nil {
		err = e.read(c.snapshot, c.System, p)
	}
	if err != nil {
		e = evaluated{PackageResult: run.PackageResult{Package: name, Verdict: run.Failed}, hints: hint.Of(err)}
		e.Failure, e.text = evaluationFailure(err)
		if e.Failure.At == nil && p != nil {
			e.Failure.At = definition(c.snapshot, p.Position)
		}
	}
	return e
}

// read reads Nix's answer. A value that is not a store path is a failure of this package alone.
func (e *evaluated) read(s run.Snapshot, system matrix.System, p *answered) (err error) {
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

// cappedBuffer keeps the first bytes that are written.
type cappedBuffer struct {
	limit int
	bytes.Buffer
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.limit-b.Len())])
	return len(p), nil
}
