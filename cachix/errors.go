package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// StatusError is a request that the server has answered with a refusal.
type StatusError struct {
	Status int
	// Message is the server's own reason on one line; empty where it gave none.
	Message string

	wait time.Duration // that the server asks for; 0 for none
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// passing says whether the same request may have another answer later.
func (e *StatusError) passing() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

// UnavailableError says that a server could not be reached, or had no usable answer, as often as it was asked.
// It says nothing against what was to be sent.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return e.Err.Error() }

// Unavailable tells this error from the others where this package is not known.
func (e *UnavailableError) Unavailable() bool { return true }

// stalledError ends a request over whose connection nothing has moved for a while.
type stalledError time.Duration

func (e stalledError) Error() string { return fmt.Sprintf("nothing moved for %s", time.Duration(e)) }

// slowAnswerError ends a request whose answer is sent, but takes too long.
type slowAnswerError time.Duration

func (e slowAnswerError) Error() string {
	return fmt.Sprintf("the answer did not end within %s", time.Duration(e))
}

// unansweredError is a request without an answer: refused, reset, stalled, cut off. Whether it was carried out is not
// known; it may be made again.
type unansweredError struct{ reason string }

func (e *unansweredError) Error() string { return e.reason }

// unanswered says why there was no answer. It leaves out the URL, which net/http puts before an error:
// one that was signed for a part is as good as a password.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		var stalled stalledError
		var slow slowAnswerError
		if !errors.As(cause, &stalled) && !errors.As(cause, &slow) {
			return cause
		}
		err = cause
	}
	for inURL := (*url.Error)(nil); errors.As(err, &inURL); {
		err = inURL.Err
	}
	return &unansweredError{c.said(err.Error())}
}

// hasStatus says whether an error is, or wraps, a refusal with a status.
func hasStatus(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}
