package cachix

import (
	"context"
	"io"
	"time"
)

// watch ends a request when nothing has moved over its connection for a while.
// A limit on a request's whole time would have to know the size of what it sends and the speed of the link.
type watch struct {
	timer  *time.Timer
	after  time.Duration
	cancel context.CancelCauseFunc
}

// newWatch returns a context that is done with the cause [stalledError] when tick is not called for that long.
func newWatch(ctx context.Context, after time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{timer: time.AfterFunc(after, func() { cancel(stalledError(after)) }), after: after, cancel: cancel}
}

func (w *watch) tick() { w.timer.Reset(w.after) }

// stop must be called when the request is over.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// limit ends the request when it is not over after d, whatever moves. It returns what lifts the limit.
func (w *watch) limit(d time.Duration) (lift func() bool) {
	return time.AfterFunc(d, func() { w.cancel(slowAnswerError(d)) }).Stop
}

// reader takes each read as a sign of life: a body is read as fast as the connection takes it.
func (w *watch) reader(r io.Reader) io.Reader { return watchedReader{r, w} }

type watchedReader struct {
	io.Reader
	watch *watch
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.watch.tick()
	}
	return n, err
}

// outlive returns a context that is done some time after ctx is, with its cause.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(by, func() { cancel(context.Cause(ctx)) })
	})
	return longer, func() {
		stop()
		cancel(nil)
	}
}
