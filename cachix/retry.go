package cachix

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// patience says how long a client puts up with a server.
type patience struct {
	pause time.Duration // before the second attempt, at most; it grows by half with each
	most  time.Duration // between two attempts
	tries uint
	wait  time.Duration // the longest that a server may ask for by Retry-After
	stall time.Duration // without a byte moving
	// answer limits the time from an answer's first byte to its last. Answers are small: one that trickles would keep its
	// connection within stall for days.
	answer time.Duration
	// think is the same for the request that completes an upload, for which the storage joins all parts.
	think time.Duration
	// last is how long the answer to what begins or ends an upload is waited for after the push was called off, and undo
	// how long from then on uploads are taken back. Both together are less than the 7.5 seconds after which GitHub sends
	// a second signal to a job that is cancelled.
	last, undo time.Duration
}

// The first pauses are short, as most failures are a connection that was closed. They grow slowly: of two thousand
// requests to a server that fails one in five, some fail five times, and the push ends with the last of these.
// All together are a minute and a half at most, as with Cachix's own client, if the server asks for none.
var defaultPatience = patience{
	pause: 200 * time.Millisecond, most: 15 * time.Second, tries: 16, wait: 2 * time.Minute, stall: 30 * time.Second, think: 3 * time.Minute,
	last: 2500 * time.Millisecond, undo: 3500 * time.Millisecond, answer: time.Minute,
}

func (p patience) orDefault() patience {
	return patience{
		pause: cmp.Or(p.pause, defaultPatience.pause), most: cmp.Or(p.most, defaultPatience.most),
		tries: cmp.Or(p.tries, defaultPatience.tries), wait: cmp.Or(p.wait, defaultPatience.wait),
		stall: cmp.Or(p.stall, defaultPatience.stall), think: cmp.Or(p.think, defaultPatience.think),
		last: cmp.Or(p.last, defaultPatience.last), undo: cmp.Or(p.undo, defaultPatience.undo),
		answer: cmp.Or(p.answer, defaultPatience.answer),
	}
}

// retry makes attempts until one succeeds or fails for good. The pauses are drawn from all between none and one
// that grows by half (full jitter), so that clients which failed together do not come back together.
// What does is named in the error.
func (c *Client) retry(ctx context.Context, does string, attempt func(context.Context) error) error {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: c.patience.pause / 2, RandomizationFactor: 1, Multiplier: 1.5, MaxInterval: c.patience.most / 2,
	}
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = attempt(ctx)
		return struct{}{}, c.afterAttempt(last)
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(c.patience.tries), backoff.WithMaxElapsedTime(0))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", does, context.Cause(ctx))
	case isPassing(last):
		return &UnavailableError{fmt.Errorf("%s: no success in %d attempts: %w", does, c.patience.tries, last)}
	}
	return fmt.Errorf("%s: %w", does, last)
}

// afterAttempt puts an error into the form in which it tells the backoff what to do.
func (c *Client) afterAttempt(err error) error {
	var status *StatusError
	switch {
	case err == nil:
		return nil
	case !isPassing(err):
		return backoff.Permanent(err)
	case errors.As(err, &status) && status.wait > 0:
		return &backoff.RetryAfterError{Duration: min(status.wait, c.patience.wait)}
	}
	return err
}

// isPassing says whether another attempt may succeed.
func isPassing(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.passing()
	}
	var unanswered *unansweredError
	return errors.As(err, &unanswered)
}

// retryAfter reads how long a server asks its clients to wait: the header in seconds or as a date,
// or a field of the JSON in which Cloudflare tells of its own failures. It is 0 where there is nothing to wait for.
func retryAfter(header http.Header, body []byte) time.Duration {
	text := header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return max(0, time.Duration(min(n, 1<<20))*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	var problem struct {
		RetryAfter float64 `json:"retry_after"`
	}
	if json.Unmarshal(body, &problem) == nil && problem.RetryAfter > 0 {
		return time.Duration(min(problem.RetryAfter, 1<<20) * float64(time.Second))
	}
	return 0
}
