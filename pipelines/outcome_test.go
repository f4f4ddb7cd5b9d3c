package pipelines

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestOutcomeIsTheWorst(t *testing.T) {
	broken, differs, unpublished := &ContractError{}, &RebuildError{}, &publish.Error{Cache: "c", Err: errors.New("x")}
	failed := errors.New("x")
	for name, test := range map[string]struct {
		err  error
		want run.Outcome
	}{
		"none":                  {nil, run.OutcomeGood},
		"any":                   {failed, run.OutcomeFailed},
		"a contract":            {fmt.Errorf("x86_64-linux: %w", hint.Wrap(broken, "fix it")), run.OutcomeContract},
		"a cache":               {unpublished, run.OutcomeUnpublished},
		"a cache and a rebuild": {errors.Join(unpublished, differs), run.OutcomeDifferent},
		"all except a failure":  {errors.Join(unpublished, errors.Join(differs, broken)), run.OutcomeContract},
		"all":                   {errors.Join(unpublished, failed, broken), run.OutcomeFailed},
		"another process":       {errors.Join(broken, &run.OutcomeError{End: run.OutcomeInterrupted}), run.OutcomeInterrupted},
	} {
		if got := run.OutcomeOf(test.err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if got := run.OutcomeGood.Worst("odd"); got != run.OutcomeFailed {
		t.Errorf("an outcome that is not known is taken for %s", got)
	}
}

// An interrupt takes precedence over the errors that it causes, also in the manifest.
func TestManifestOfAnInterruptedRun(t *testing.T) {
	release := newFakeRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	for _, e := range release.engines {
		e.hangs = true
	}
	release.Release.Report = reporterFunc(func(e run.Event) {
		if started, ok := e.(run.StepStarted); ok && started.Step == run.StepBuild && started.System == matrix.X8664Linux {
			cancel()
		}
	})
	m, err := release.Run(ctx)
	if err == nil || m.Outcome != run.OutcomeInterrupted {
		t.Fatalf("outcome %q, error %v", m.Outcome, err)
	}
	written, err := run.ReadManifest(release.Results.Manifest.Path())
	if err != nil || written.Outcome != run.OutcomeInterrupted {
		t.Errorf("the file says %+v, %v", written, err)
	}
}

type reporterFunc func(run.Event)

func (f reporterFunc) Report(_ time.Time, e run.Event) { f(e) }
