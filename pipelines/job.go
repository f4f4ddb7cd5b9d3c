package pipelines

import (
	"context"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Job is what every run on an engine needs: packages of a flake, and Nix. Its fields are set before the run.
type Job struct {
	*run.Recorder
	Nix

	ID      string // of the run in logs, unique on this machine
	Command string // its name in the manifest
	Tool    string // this program with its version
	Flake   string // the reference that the user gave
	Refused error  // why the event may not start the run; nil if it may

	Cells []matrix.Cell // one without packages has all of the flake
	// EverySystem is set if the user did not name the systems: one that the flake has no packages for is left out.
	EverySystem bool
	FailFast    bool // the first failed cell ends the others
	Source      Source
	Taken       *Taken // the snapshot, if it was taken before the run; then there is no Source
	Overrides   []Override
}

// Nix is the part of a [Job] about engines and Nix.
type Nix struct {
	Engines  Engines
	Settings nix.Settings   // of every command of Nix
	Builders []nix.Builder  // remote builders, also for systems that the engine cannot build for
	Memlock  int64          // bytes that the packages' tests lock; 0 for none
	Logs     *regular.Dir   // for build logs
	Stall    time.Duration  // how long a build may print nothing before its last lines are shown
	Record   *record.Record // what this user's runs know of store objects

	mentioned *sync.Map // remote builders that the run has reported as unusable
}

// Override replaces an input by another flake.
type Override struct {
	Input string
	Ref   string // of the other flake
	Dir   string // a directory of this machine that has it; may be empty
}

// begin checks the policy for the event, reports the start of a run, and takes the snapshot. Its error ends the run.
func (j *Job) begin(ctx context.Context) (s run.Snapshot, err error) {
	started := j.beginning()
	j.mentioned = new(sync.Map)
	if j.Refused != nil {
		err = j.Fail(run.StepPreflight, j.Refused)
	} else {
		j.Report.Report(started, run.RunStarted{ID: j.ID, Flake: j.Flake, Cells: j.Cells})
		s, err = j.takeSnapshot(ctx)
	}
	if err != nil {
		j.Event(run.RunFinished{Seconds: run.Seconds(j.Now().Sub(started))})
	}
	return s, err
}
