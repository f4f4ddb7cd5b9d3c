package run

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

type lastEvent struct{ event Event }

func (l *lastEvent) Report(_ time.Time, e Event) { l.event = e }

// A signal interrupts a step. A time limit and an error of its own fail it.
func TestStepThatWasInterrupted(t *testing.T) {
	for name, test := range map[string]struct {
		cancelled   bool
		err         error
		interrupted bool
	}{
		"a signal":               {true, fmt.Errorf("build: %w", context.Canceled), true},
		"an error of its own":    {false, errors.New("broken"), false},
		"an error and a signal":  {true, errors.New("broken"), false},
		"a time limit of a part": {false, context.DeadlineExceeded, false},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		last := &lastEvent{}
		err := Recorder{Report: last, Now: time.Now}.Step(ctx, StepBuild, "x86_64-linux", func() (string, error) {
			if test.cancelled {
				cancel()
			}
			return "", test.err
		})
		cancel()
		if e, ok := last.event.(StepFinished); err == nil || !ok || e.Interrupted != test.interrupted || e.Error == "" {
			t.Errorf("%s: %v, event %+v, want interrupted %t", name, err, last.event, test.interrupted)
		}
	}
}
