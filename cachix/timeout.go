package cachix

import (
	"context"
	"fmt"
	"io"
	"time"
)

// stallTimer ends a request when no bytes move over its connection for some time.
// A timeout for the whole request would depend on its size and the speed of the link.
type stallTimer struct {
	timer  *time.Timer
	after  time.Duration
	cancel context.CancelCauseFunc
}

// withStallTimeout returns a context that is done, with a [timeoutError], when tick is not called for that time.
func withStallTimeout(ctx context.Context, after time.Duration) (context.Context, *stallTimer) {
	ctx, cancel := context.WithCancelCause(ctx)
	stalled := timeoutError(fmt.Sprintf("nothing moved for %s", after))
	return ctx, &stallTimer{timer: time.AfterFunc(after, func() { cancel(stalled) }), after: after, cancel: cancel}
}

func (t *stallTimer) tick() { t.timer.Reset(t.after) }

// stop must be called at the end of the request.
func (t *stallTimer) stop() {
	t.timer.Stop()
	t.cancel(nil)
}

// limit ends the request after d, even if bytes move. It returns a function that removes the limit.
func (t *stallTimer) limit(d time.Duration) (lift func() bool) {
	return time.AfterFunc(d, func() { t.cancel(timeoutError(fmt.Sprintf("the answer did not end within %s", d))) }).Stop
}

// reader calls tick at each read: a body is read as fast as the connection accepts it.
func (t *stallTimer) reader(r io.Reader) io.Reader { return stallTimerReader{r, t} }

type stallTimerReader struct {
	io.Reader
	timer *stallTimer
}

func (r stallTimerReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.timer.tick()
	}
	return n, err
}

// withGracePeriod returns a context that is done some time after ctx is, with its cause.
func withGracePeriod(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}
