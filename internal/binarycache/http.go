package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const (
	// httpRetry is the pause before a request that has failed is sent once more.
	httpRetry = 500 * time.Millisecond
	// httpTimeout limits the request of a narinfo with all its redirects.
	httpTimeout = 20 * time.Second
)

// HTTP is a binary cache on the web. It sends no credentials. Dump compares each NAR with its narinfo: a NAR that differs is
// a [nar.ErrMismatch], after all of it is written.
type HTTP struct {
	*reader
	url       *url.URL
	transport *http.Transport
}

// NewHTTP returns the cache at a URL. It does not wait long for a server that is not there.
func NewHTTP(u *url.URL) *HTTP {
	c := &HTTP{url: u, transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   maxRequests,
		ForceAttemptHTTP2:     true,
	}}
	c.reader = &reader{name: u.Redacted(), info: c.infoWithRetry, open: c.open, verifies: true}
	return c
}

// infoWithRetry requests a narinfo. A temporary failure (429, 500 and above, or no answer) is retried once.
func (c *HTTP) infoWithRetry(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := c.requestInfo(ctx, path)
	if !IsTemporary(err) {
		return info, err
	}
	select {
	case <-time.After(httpRetry):
		return c.requestInfo(ctx, path)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *HTTP) requestInfo(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, httpTimeout, temporaryError{fmt.Errorf("no answer within %s", httpTimeout)})
	defer cancel()
	response, err := c.request(ctx, http.MethodGet, infoName(path))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxNARInfo))
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	return parseInfo(data, path)
}

// open requests a NAR. There is no timeout: the context limits it.
func (c *HTTP) open(ctx context.Context, info *nix.NARInfo) (io.ReadCloser, error) {
	if u, err := url.Parse(info.URL); err != nil || u.IsAbs() || u.Host != "" {
		return nil, fmt.Errorf("its narinfo names %.80q, which is not a file of the cache", info.URL)
	}
	response, err := c.requestNAR(ctx, http.MethodGet, info)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// requestNAR requests the file of a NAR. If the answer states a length, it must be that in the narinfo.
func (c *HTTP) requestNAR(ctx context.Context, method string, info *nix.NARInfo) (*http.Response, error) {
	response, err := c.request(ctx, method, info.URL)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("its narinfo is there, but its NAR %s is not", info.URL)
	}
	if err != nil {
		return nil, err
	}
	if n := response.ContentLength; n >= 0 && info.FileSize > 0 && n != info.FileSize {
		response.Body.Close()
		return nil, fmt.Errorf("its NAR %s has %d bytes, and its narinfo says %d", info.URL, n, info.FileSize)
	}
	return response, nil
}

// request requests a file of the cache. Its name comes from the cache; as in Nix, it can be a URL of another server.
// 403 means absent as well: S3 answers it to a client that must not list the bucket.
func (c *HTTP) request(ctx context.Context, method, name string) (*http.Response, error) {
	relative, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("parse %q: not a URL", name)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url.JoinPath("/").ResolveReference(relative).String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: c.transport}).Do(request)
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return response, nil
	case code == http.StatusNotFound, code == http.StatusForbidden:
		err = ErrNotFound
	case code == http.StatusTooManyRequests, code >= 500:
		err = temporaryError{fmt.Errorf("the answer is %s", response.Status)}
	default:
		err = fmt.Errorf("the answer is %s", response.Status)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10)) // so that the connection can be used again
	response.Body.Close()
	return nil, err
}

// temporaryError is an error that the next request may not have.
type temporaryError struct{ error }

func (e temporaryError) Unwrap() error { return e.error }

// IsTemporary reports whether a server did not answer, or has a temporary failure.
func IsTemporary(err error) bool {
	_, temporary := errors.AsType[temporaryError](err)
	return temporary
}

// noAnswer returns the reason why a request has no answer. It removes the method and the URL, which net/http puts before an
// error: the caller names them.
func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return temporaryError{err}
}
