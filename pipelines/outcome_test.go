package pipelines

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestOutcomeIsTheHeaviest(t *testing.T) {
	broken, differs, unpublished := &ContractError{}, &RebuildError{}, &PublishError{Cache: "c", Err: errors.New("x")}
	failed := errors.New("x")
	for name, test := range map[string]struct {
		err  error
		want Outcome
	}{
		"none":                  {nil, OutcomeGood},
		"any":                   {failed, OutcomeFailed},
		"a contract":            {fmt.Errorf("x86_64-linux: %w", hint.Wrap(broken, "mend it")), OutcomeContract},
		"a cache":               {unpublished, OutcomeUnpublished},
		"a cache and a rebuild": {errors.Join(unpublished, differs), OutcomeDifferent},
		"all but a failure":     {errors.Join(unpublished, errors.Join(differs, broken)), OutcomeContract},
		"all":                   {errors.Join(unpublished, failed, broken), OutcomeFailed},
		"another process":       {errors.Join(broken, &OutcomeError{End: OutcomeInterrupted}), OutcomeInterrupted},
	} {
		if got := OutcomeOf(test.err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if got := OutcomeGood.Heavier("odd"); got != OutcomeFailed {
		t.Errorf("an outcome that is not known is taken for %s", got)
	}
}

// A signal goes before what it has made fail, and the manifest says so.
func TestTheManifestOfARunThatWasInterrupted(t *testing.T) {
	run := newFakeRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	for _, e := range run.engines {
		e.hangs = true
	}
	run.Release.Report = reporterFunc(func(e Event) {
		if started, ok := e.(StepStarted); ok && started.Step == StepBuild && started.System == matrix.X8664Linux {
			cancel()
		}
	})
	m, err := run.Run(ctx)
	if err == nil || m.Outcome != OutcomeInterrupted {
		t.Fatalf("outcome %q, error %v", m.Outcome, err)
	}
	written, err := ReadManifest(run.ManifestFile.Path())
	if err != nil || written.Outcome != OutcomeInterrupted {
		t.Errorf("the file says %+v, %v", written, err)
	}
}

type reporterFunc func(Event)

func (f reporterFunc) Report(_ time.Time, e Event) { f(e) }
