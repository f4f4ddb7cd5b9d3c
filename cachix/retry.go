package cachix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// retryPolicy has the timeouts of a client, and its pauses between attempts.
type retryPolicy struct {
	firstPause    time.Duration // maximum before the second attempt; it grows by half with each attempt
	maxPause      time.Duration // maximum between two attempts
	attempts      uint
	maxRetryAfter time.Duration // maximum that a server may ask for by Retry-After
	stallTimeout  time.Duration // without a byte on the connection
	// answerTimeout limits the time from the first to the last byte of an answer. Answers are small. A server that sends
	// one byte at a time could keep a connection open for days without exceeding stallTimeout.
	answerTimeout time.Duration
	// completeTimeout replaces stallTimeout for the request that completes an upload: the storage joins all parts first.
	completeTimeout time.Duration
	// After a push is cancelled, requests that begin or complete an upload get finalTimeout to finish. Then uploads are
	// aborted, for at most abortTimeout. The sum is less than the 7.5 seconds after which GitHub sends a second signal to
	// a cancelled job.
	finalTimeout, abortTimeout time.Duration
}

// The first pauses are short, because most failures are closed connections. They grow slowly: of two thousand requests
// to a server where one in five fails, some fail five times, and the slowest request determines the time of a push.
// All pauses together are at most a minute and a half, as in Cachix's own client, unless the server asks for more.
var defaultRetryPolicy = retryPolicy{
	firstPause: 200 * time.Millisecond, maxPause: 15 * time.Second, attempts: 16, maxRetryAfter: 2 * time.Minute,
	stallTimeout: 30 * time.Second, answerTimeout: time.Minute, completeTimeout: 3 * time.Minute,
	finalTimeout: 2500 * time.Millisecond, abortTimeout: 3500 * time.Millisecond,
}

// retry makes attempts until one succeeds or fails permanently. Each pause is random, between zero and a maximum that
// grows by half (full jitter), so that clients that failed together do not retry together. Errors begin with does.
func (c *Client) retry(ctx context.Context, does string, attempt func(context.Context) error) error {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: c.policy.firstPause / 2, RandomizationFactor: 1, Multiplier: 1.5, MaxInterval: c.policy.maxPause / 2,
	}
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = attempt(ctx)
		return struct{}{}, c.afterAttempt(last)
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(c.policy.attempts), backoff.WithMaxElapsedTime(0))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", does, context.Cause(ctx))
	case isTransient(last):
		return &UnavailableError{fmt.Errorf("%s: no success in %d attempts: %w", does, c.policy.attempts, last)}
	}
	return fmt.Errorf("%s: %w", does, last)
}

// afterAttempt converts an error to the form that package backoff expects.
func (c *Client) afterAttempt(err error) error {
	var status *StatusError
	switch {
	case err == nil:
		return nil
	case !isTransient(err):
		return backoff.Permanent(err)
	case errors.As(err, &status) && status.retryAfter > 0:
		return &backoff.RetryAfterError{Duration: min(status.retryAfter, c.policy.maxRetryAfter)}
	}
	return err
}

// isTransient returns whether another attempt may succeed.
func isTransient(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.isTransient()
	}
	_, ok := errors.AsType[*unansweredError](err)
	return ok
}

// retryAfter returns how long a server asks its clients to wait: the header in seconds or as a date, or a field of the
// JSON that Cloudflare sends for its own failures. It returns 0 if the server does not ask.
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
