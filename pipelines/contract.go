package pipelines

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Terms are what a flake has promised, and how it is held to it.
type ContractPolicy struct {
	// Contract is nil where nothing is checked; Without says why.
	Contract *contract.Contract
	Without  string
	// WarnOnly lets a run with broken promises go on to its end, for a flake that is to adopt a contract.
	WarnOnly bool
	// HomeManager is a flake reference of Home Manager; empty where its options are declared by the checks.
	HomeManager string
}

// key tells terms apart: a cell is remembered as good under those that it was checked against.
func (t ContractPolicy) key() string {
	if t.Contract == nil {
		return ""
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err) // it is strings, numbers and booleans
	}
	return fmt.Sprintf(" contract %x", sha256.Sum256(data))
}

// checkFiles holds the files of the flake to its contract. What can be refused here costs no engine and no build.
func (r *Release) checkFiles(ctx context.Context, s run.Snapshot) ([]contract.Result, error) {
	c := r.Contract.Contract
	if c == nil {
		return nil, nil // each system's own step says so
	}
	var results []contract.Result
	err := r.Step(ctx, run.StepContract, "", func() (string, error) {
		if _, err := os.Stat(filepath.Join(flakeDir(s), "flake.nix")); err != nil {
			return "", run.Skipped("no flake.nix") // of that the evaluation says more
		}
		results = c.Static(flakeDir(s), r.Now())
		if c.Hashes != nil {
			results = append(results, c.Finish([]contract.Result{c.Hashes.MovedHashes(flakeDir(s), r.history(ctx, s))}, "", nil)...)
		}
		if r.CacheKeys != nil {
			results = append(results, c.ReportedKeys(func() ([]string, error) { return r.CacheKeys.PublicKeys(ctx) })...)
		}
		if ctx.Err() != nil { // what could not be asked is not skipped then
			return "", context.Cause(ctx)
		}
		for i := range results {
			if results[i].File != "" { // an annotation is looked for from the root of the repository
				results[i].File = path.Join(s.Subdir, results[i].File)
			}
		}
		return r.judge("", results)
	})
	return results, err
}

// history returns the history of a snapshot's files.
func (r *Release) history(ctx context.Context, s run.Snapshot) contract.History {
	return func(files []string, further string, visit contract.Visit) (bool, error) {
		if r.History == nil {
			return false, errors.New("the source has no history")
		}
		return r.History.History(ctx, s, files, further, visit)
	}
}

// judge reports results, and says what they come to.
func (r *Release) judge(system matrix.System, results []contract.Result) (string, error) {
	r.Event(run.Checked{System: system, Results: results, WarnOnly: r.Contract.WarnOnly})
	text, _ := contract.Counts(results)
	broken := &ContractError{System: system, Of: len(results)}
	var err error = broken
	for _, result := range results {
		if result.Status != contract.Fail {
			continue
		}
		broken.Broken = append(broken.Broken, result)
	}
	if len(broken.Broken) == 0 || r.Contract.WarnOnly {
		return text, nil
	}
	for _, result := range broken.Broken {
		if result.Fix != "" {
			err = hint.Wrap(err, "%s", contract.FixLine(result))
		}
	}
	return text, err
}
