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

// ContractPolicy is the contract of a flake, and what a violation does.
type ContractPolicy struct {
	// Contract is nil if nothing is checked; Without says why.
	Contract *contract.Contract
	Without  string
	// WarnOnly makes violations warnings, for a flake that is about to adopt a contract.
	WarnOnly bool
	// HomeManager is a flake reference of Home Manager; if it is empty, the checks declare its options.
	HomeManager string
}

// key identifies a policy in the key of recorded results.
func (t ContractPolicy) key() string {
	if t.Contract == nil {
		return ""
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err) // it has only strings, numbers and booleans
	}
	return fmt.Sprintf(" contract %x", sha256.Sum256(data))
}

// checkFiles checks the files of the flake against its contract, before an engine is opened.
func (r *Release) checkFiles(ctx context.Context, s run.Snapshot) ([]contract.Result, error) {
	c := r.Contract.Contract
	if c == nil {
		return nil, nil // the step of each system reports that
	}
	var results []contract.Result
	err := r.Step(ctx, run.StepContract, "", func() (string, error) {
		if _, err := os.Stat(filepath.Join(flakeDir(s), "flake.nix")); err != nil {
			return "", run.Skipped("no flake.nix") // the evaluation explains that
		}
		results = c.Static(flakeDir(s), r.Now())
		if c.Hashes != nil {
			results = append(results, c.Finish([]contract.Result{c.Hashes.MovedHashes(flakeDir(s), r.history(ctx, s))}, "", nil)...)
		}
		if r.CacheKeys != nil {
			results = append(results, c.ReportedKeys(func() ([]string, error) { return r.CacheKeys.PublicKeys(ctx) })...)
		}
		if ctx.Err() != nil { // an interrupted check is not skipped
			return "", context.Cause(ctx)
		}
		for i := range results {
			if results[i].File != "" { // annotations have paths from the root of the repository
				results[i].File = path.Join(s.Subdir, results[i].File)
			}
		}
		return r.reportChecks("", results)
	})
	return results, err
}

// history returns a function that visits the history of a snapshot's files.
func (r *Release) history(ctx context.Context, s run.Snapshot) contract.History {
	return func(files []string, further string, visit contract.Visit) (bool, error) {
		if r.History == nil {
			return false, errors.New("the source has no history")
		}
		return r.History.History(ctx, s, files, further, visit)
	}
}

// reportChecks reports results, and returns an error if there are violations.
func (r *Release) reportChecks(system matrix.System, results []contract.Result) (string, error) {
	r.Event(run.Checked{System: system, Results: results, WarnOnly: r.Contract.WarnOnly})
	text, _ := contract.Counts(results)
	broken := &ContractError{System: system, Of: len(results)}
	var err error = broken
	for _, result := range results {
		if result.Status == contract.Fail {
			broken.Broken = append(broken.Broken, result)
		}
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
