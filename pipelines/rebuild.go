package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Rebuilding says whether packages are built a second time, and what a difference does.
type Rebuilding struct {
	// Without is why nothing is rebuilt; empty where it is.
	Without string
	// WarnOnly makes a warning of what is an error otherwise.
	WarnOnly bool
	// Evidence keeps what differs; nil keeps nothing.
	Evidence Evidence
}

// Evidence keeps two results of one build, and looks into them.
type Evidence interface {
	// Keep reads a stream of nix-store --export that holds both, keeps their NARs, and says in what they differ:
	// a line for each of the first few files, with the likely cause.
	Keep(ctx context.Context, stream io.Reader, first, second nix.StorePath) (Difference, error)
}

// Difference is in what two builds of an output differ.
type Difference struct {
	Output nix.StorePath `json:"output,omitempty"`
	// Second is the store path that the second result was given.
	Second nix.StorePath `json:"second,omitempty"`
	// Kept are the files of the two NARs.
	Kept []string `json:"kept,omitempty"`
	// Files says of the first few files in what they differ.
	Files []string `json:"files,omitempty"`
	// Reason is Nix's own, on one line.
	Reason string `json:"reason,omitempty"`
}

// RebuildVerdict says whether an output was proven to be reproducible.
type RebuildVerdict string

// The verdicts of a second build. An output that was not rebuilt is Unknown, which is no pass.
const (
	Good    RebuildVerdict = "good"
	Bad     RebuildVerdict = "bad"
	Unknown RebuildVerdict = "unknown"
)

// Reproducible is the verdict over all outputs of a package: the worst of them.
func (p PackageResult) Reproducible() RebuildVerdict {
	verdict := Good
	for _, o := range p.Outputs {
		switch {
		case o.Rebuild == Bad:
			return Bad
		case o.Rebuild != Good:
			verdict = Unknown
		}
	}
	if len(p.Outputs) == 0 {
		return Unknown
	}
	return verdict
}

// RebuildError says which packages came out differently when they were built a second time.
type RebuildError struct {
	System matrix.System
	Failed []PackageResult
}

func (e *RebuildError) Error() string {
	reasons := make([]string, len(e.Failed))
	for i, p := range e.Failed {
		d := p.Difference
		reasons[i] = fmt.Sprintf("%s: %s", p.Package, d.Reason)
		if len(d.Files) > 0 {
			reasons[i] = fmt.Sprintf("%s: a second build differs: %s", p.Package, strings.Join(d.Files, "; "))
		}
	}
	return "rebuild " + strings.Join(reasons, "; ")
}

// rebuild builds the packages of a cell a second time, by Nix's own check, and notes of each output whether it came
// out the same. The second build differs in what it may: the clock, the number of processors, what else is being built.
func (r *Release) rebuild(ctx context.Context, x Executor, e Engine, cell matrix.Cell, result *CellResult, p probed) error {
	return r.step(ctx, StepRebuild, cell.System, func() (string, error) {
		if r.Rebuild.Without != "" {
			return "", skipped(r.Rebuild.Without)
		}
		todo := rebuildable(result.Packages)
		if len(todo) == 0 {
			return "", skipped("nothing was built here")
		}
		log := r.newRebuildLog(cell.System)
		err := r.buildAgain(ctx, x, e, todo, p, log)
		if ctx.Err() != nil {
			return "", err
		}
		failed, err := r.judgeRebuild(ctx, x, todo, log, err)
		if err != nil || len(failed) == 0 {
			return fmt.Sprintf("%s the same a second time", count(len(todo), "package")), err
		}
		broken := &RebuildError{System: cell.System, Failed: failed}
		if r.Rebuild.WarnOnly {
			r.event(Notice{System: cell.System, Level: Warning, Text: broken.Error()})
			return fmt.Sprintf("%s not the same a second time", count(len(failed), "package")), nil
		}
		return "", withEvidence(broken)
	})
}

// rebuildable returns the packages whose outputs this engine has built, now or before. What was fetched was not built here:
// to build it would be to build all that it is made with.
func rebuildable(packages []PackageResult) []*PackageResult {
	var todo []*PackageResult
	for i, p := range packages {
		if p.Verdict == Built || p.Verdict == Present {
			todo = append(todo, &packages[i])
		}
	}
	return todo
}

// newRebuildLog keeps the logs of the second builds beside those of the first.
func (r *Release) newRebuildLog(system matrix.System) *buildLog {
	second := *r
	second.LogDir = filepath.Join(r.LogDir, "rebuild")
	return newBuildLog(&second, system)
}

// buildAgain has Nix build the derivations again and compare; see nix-store --realise --check in the Nix manual.
// What differs is kept beside the first result, as PATH.check.
func (r *Release) buildAgain(ctx context.Context, x Executor, e Engine, todo []*PackageResult, p probed, log *buildLog) error {
	stop := log.watch(ctx, r.Stall)
	defer stop()
	lines := &nix.LogWriter{Entry: log.entry}
	args := append([]string{"--realise", "--check", "--keep-failed", "--keep-going", "--log-format", "internal-json"}, derivations(todo)...)
	settings := r.Settings.With(p.settings()).With(nix.Settings{"cores": otherCores(e), "max-jobs": "1"})
	_, err := x.Run(ctx, Command{Program: "nix-store", Args: args, Settings: settings, Privileged: p.privileged(), Stderr: lines})
	lines.Flush()
	log.close(err)
	return err
}

// otherCores is a number of processors that the first build did not have: one less than all.
func otherCores(e Engine) string { return strconv.Itoa(max(1, e.Cores-1)) }

// differs is how all versions of Nix say it; the second path is there with --keep-failed.
var differs = regexp.MustCompile(`output '([^']+)' differs(?: from '([^']+)')?`)

// judgeRebuild gives each output its verdict, and returns the packages that are not the same.
func (r *Release) judgeRebuild(ctx context.Context, x Executor, todo []*PackageResult, log *buildLog, buildErr error) (failed []PackageResult, err error) {
	for _, p := range todo {
		f := log.failures[p.Derivation]
		switch {
		case f == nil && (buildErr == nil || log.ended[p.Derivation] != nil):
			for i := range p.Outputs {
				p.Outputs[i].Rebuild = Good
			}
			continue
		case f == nil:
			continue // not come to
		}
		p.Difference = r.difference(ctx, x, p, f)
		failed = append(failed, *p)
	}
	if buildErr != nil && len(failed) == 0 {
		err = fmt.Errorf("rebuild: %w", buildErr)
	}
	return failed, err
}

// difference marks the output that differs, and looks into it. A second build that fails is a difference too.
func (r *Release) difference(ctx context.Context, x Executor, p *PackageResult, f *Failure) *Difference {
	m := differs.FindStringSubmatch(f.Message)
	if m == nil {
		for i := range p.Outputs {
			p.Outputs[i].Rebuild = Bad
		}
		return &Difference{Reason: "the first build succeeded, and a second one failed: " + f.Message}
	}
	d := Difference{Output: nix.StorePath(m[1]), Reason: "a second build differs in " + m[1]}
	for i, o := range p.Outputs {
		if o.Path == d.Output {
			p.Outputs[i].Rebuild = Bad
		}
	}
	if m[2] == "" || r.Rebuild.Evidence == nil {
		return &d
	}
	found, err := r.keep(ctx, x, d.Output, m[2])
	if err != nil {
		r.event(Notice{Level: Warning, Text: fmt.Sprintf("look into the difference of %s: %v", d.Output, err)})
		return &d
	}
	found.Output, found.Reason = d.Output, d.Reason
	return &found
}

// keep takes both results out of the engine. The second one is no valid path: it is added to the store as a path of its own.
func (r *Release) keep(ctx context.Context, x Executor, first nix.StorePath, check string) (found Difference, err error) {
	out, err := x.Run(ctx, Command{Program: "nix-store", Args: []string{"--add", check}, Settings: r.Settings})
	if err != nil {
		return found, err
	}
	second, err := nix.ParseStorePath(strings.TrimSpace(string(out)))
	if err != nil {
		return found, err
	}
	pr, pw := io.Pipe()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := x.Export(ctx, pw, []nix.StorePath{first, second})
		pw.CloseWithError(err)
		return err
	})
	g.Go(func() error {
		var err error
		found, err = r.Rebuild.Evidence.Keep(ctx, pr, first, second)
		pr.CloseWithError(err)
		return err
	})
	return found, g.Wait()
}

// withEvidence tells how to look into what differs.
func withEvidence(broken *RebuildError) error {
	var err error = broken
	for _, p := range broken.Failed {
		if d := p.Difference; len(d.Kept) == 2 {
			err = hint.Wrap(err, "both results of %s are kept: go run ./ci compare '%s' '%s'", p.Package, d.Kept[0], d.Kept[1])
		}
	}
	return hint.Wrap(err, "to be warned only: --rebuild=warn")
}

// isRebuildError says whether a build is good but for coming out differently a second time.
func isRebuildError(err error) bool {
	var broken *RebuildError
	return errors.As(err, &broken)
}
