package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Reporter shows events. Report is called by many goroutines; it must not block for long.
type Reporter interface {
	Report(at time.Time, e Event)
}

// Recorder reports the events and the steps of a run.
type Recorder struct {
	Report Reporter
	Now    func() time.Time
}

// Event reports an event at the present time.
func (r Recorder) Event(e Event) { r.Report.Report(r.Now(), e) }

// Warn reports a warning about a system; an empty system means the whole run.
func (r Recorder) Warn(system matrix.System, format string, args ...any) {
	r.Event(Notice{System: system, Level: Warning, Text: fmt.Sprintf(format, args...)})
}

// Advise reports a warning with a hint.
func (r Recorder) Advise(system matrix.System, hint, format string, args ...any) {
	r.Event(Notice{System: system, Level: Warning, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// Step runs f as a step of the run, and reports its beginning and its end.
// f returns a summary of a few words. If its error is a [Skipped], the step had nothing to do, and Step returns nil.
//
// A step does not begin if the context is done. So a run that is interrupted between two steps fails like
// a run that is interrupted within a step: the error is an [InterruptedError].
// An error of f is returned as a [StepError].
func (r Recorder) Step(ctx context.Context, step Step, system matrix.System, f func() (summary string, err error)) error {
	if err := ctx.Err(); err != nil {
		return WithCause(ctx, step, err)
	}
	started := r.Now()
	r.Event(StepStarted{Step: step, System: system})
	summary, err := f()
	err = WithCause(ctx, step, err)
	done := StepFinished{Step: step, System: system, Seconds: Seconds(r.Now().Sub(started)), Summary: summary}
	var skip Skipped
	if errors.As(err, &skip) {
		done.Skipped, err = string(skip), nil
	} else if err != nil {
		done.Error, done.Interrupted = err.Error(), isCancelled(err)
		if at := (interface{ Position() *Line })(nil); errors.As(err, &at) {
			done.At = at.Position()
		}
	}
	r.Event(done)
	if done.Error != "" && !done.Interrupted {
		return &StepError{Step: step, Err: err}
	}
	return err
}

// Fail reports that a step of the whole run has failed before it began, and returns its error.
func (r Recorder) Fail(step Step, err error) error {
	r.Event(StepFinished{Step: step, Error: err.Error()})
	return &StepError{Step: step, Err: err}
}

// StepError is the error of a step that has failed. The event of its end has the same text.
type StepError struct {
	Step Step
	Err  error
}

func (e *StepError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the step's function.
func (e *StepError) Unwrap() error { return e.Err }

// isCancelled reports whether a step ended by a cancelled context, and not by a time limit.
func isCancelled(err error) bool {
	interrupted, ok := errors.AsType[*InterruptedError](err)
	return ok && errors.Is(interrupted.Err, context.Canceled)
}

// Skipped is the reason why a step had nothing to do.
type Skipped string

func (s Skipped) Error() string { return string(s) }

// InterruptedError says in which step a run was interrupted, and by what: a signal, a time limit or another system.
type InterruptedError struct {
	Step  Step
	Cause error // the context's cause
	Err   error // the context's error
}

func (e *InterruptedError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Cause) }

// Unwrap returns the context's error and its cause: the cause of a signal or a time limit does not always wrap the error.
func (e *InterruptedError) Unwrap() []error { return []error{e.Cause, e.Err} }

// WithCause replaces a bare "context canceled" with an [InterruptedError] that has the context's cause.
// Other errors are returned unchanged.
func WithCause(ctx context.Context, step Step, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return &InterruptedError{Step: step, Cause: context.Cause(ctx), Err: ctx.Err()}
	}
	return err
}

// WithTimeout limits a context to d, the value of a flag. 0 is no limit. The cause names the flag.
func WithTimeout(ctx context.Context, d time.Duration, flag string) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("timed out after %s (--%s)", d, flag))
}

// Sleep waits for d, or until the context is done.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// progressInterval is the shortest time between two reports of the same progress.
const progressInterval = 200 * time.Millisecond

// Throttle limits how often progress is reported. The zero value allows the first report at once.
// It is not safe for concurrent use.
type Throttle struct{ last time.Time }

// Allow returns whether progress may be reported now.
func (t *Throttle) Allow(now time.Time) bool {
	if now.Sub(t.last) < progressInterval {
		return false
	}
	t.last = now
	return true
}
