package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// StatusError means that the server has refused a request.
type StatusError struct {
	Status int
	// Message is the reason that the server gave, on one line; it may be empty.
	Message string

	retryAfter time.Duration // the time that the server asks to wait; 0 if it does not
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// isTransient returns whether the same request may succeed later.
func (e *StatusError) isTransient() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

// UnavailableError means that no attempt reached the server, or that it gave no usable answer.
// The error says nothing about the data of the request.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return e.Err.Error() }

// Unavailable identifies this error in packages that do not import this one.
func (e *UnavailableError) Unavailable() bool { return true }

// timeoutError ends a request whose connection or answer is too slow.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }

// unansweredError means that a request has no answer: the connection was refused, reset, stalled or cut off.
// The server may or may not have processed the request. It may be repeated.
type unansweredError struct{ reason string }

func (e *unansweredError) Error() string { return e.reason }

// unanswered returns the reason why there was no answer. It removes the URL, which net/http puts before an error:
// a signed URL gives the right to upload.
func (c *Client) unanswered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if _, slow := errors.AsType[timeoutError](cause); !slow {
			return cause
		}
		err = cause
	}
	for inURL := (*url.Error)(nil); errors.As(err, &inURL); {
		err = inURL.Err
	}
	return &unansweredError{c.printable(err.Error())}
}

// hasStatus returns whether an error is, or wraps, a [StatusError] with one of the statuses.
func hasStatus(err error, statuses ...int) bool {
	e, ok := errors.AsType[*StatusError](err)
	return ok && slices.Contains(statuses, e.Status)
}
