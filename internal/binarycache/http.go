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

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const (
	// httpRequests is how many questions one call of Missing has open at a time.
	httpRequests = 16
	// httpRetry is the pause before a question that failed is asked once more.
	httpRetry = 500 * time.Millisecond
	// httpTimeout is for a question with all its redirects; the answer has no body.
	httpTimeout = 20 * time.Second
)

// Cache is what each kind of binary cache answers.
type Cache interface {
	// Name says where the cache is: a URL or a directory.
	Name() string
	// Missing returns those of the paths that the cache does not serve, in the order given.
	Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error)
	// Infos returns what the narinfo files say of those of the paths that the cache has.
	Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error)
	// Dump writes the NAR of a store object, not compressed.
	Dump(ctx context.Context, w io.Writer, path nix.StorePath) error
}

// OpenURL opens the cache that a substituter's URL names, for reading: http, https or file.
// Nix's parameters, such as ?priority=40, are passed over. Nothing is asked or created yet,
// but a directory has to be there.
func OpenURL(text string) (Cache, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("open binary cache: %w", err) // it names the URL
	}
	if u.User != nil {
		return nil, fmt.Errorf("open binary cache %s: credentials in the URL are not used", u.Redacted())
	}
	u.RawQuery, u.Fragment = "", ""
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return NewHTTP(u), nil
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		return OpenReadOnly(u.Path)
	default:
		return nil, fmt.Errorf("open binary cache %s: neither http://…, https://… nor file:///…", text)
	}
}

// HTTP is a binary cache on the web, asked without credentials. It is safe for concurrent use.
type HTTP struct {
	URL    *url.URL
	Client *http.Client
}

// NewHTTP returns the cache at a URL, with a client that does not wait long for a server that is not there.
func NewHTTP(u *url.URL) *HTTP {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   httpRequests,
		ForceAttemptHTTP2:     true,
	}
	return &HTTP{URL: u, Client: &http.Client{Transport: transport, Timeout: httpTimeout}}
}

// Name returns the cache's URL.
func (c *HTTP) Name() string { return c.URL.Redacted() }

// Missing requests the head of each narinfo. A temporary failure (429, 500 and above, or no answer) is retried once.
// The error names the URL.
func (c *HTTP) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(httpRequests)
	served := make([]bool, len(paths))
	for i, path := range paths {
		group.Go(func() error {
			var err error
			served[i], err = c.has(groupCtx, path)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []nix.StorePath
	for i, path := range paths {
		if !served[i] {
			missing = append(missing, path)
		}
	}
	return missing, nil
}

func (c *HTTP) has(ctx context.Context, path nix.StorePath) (bool, error) {
	response, err := twice(ctx, func() (*http.Response, error) { return c.get(ctx, http.MethodHead, infoName(path)) })
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask %s: %w", c.URL.JoinPath(infoName(path)).Redacted(), err)
	}
	return true, response.Body.Close()
}

func (c *HTTP) narinfo(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	response, err := c.get(ctx, http.MethodGet, infoName(path))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxNARInfo))
	if err != nil {
		return nil, temporaryError{cause(err)}
	}
	info, err := nix.ParseNARInfo(data)
	if err != nil {
		return nil, err
	}
	if info.StorePath != path {
		return nil, fmt.Errorf("its narinfo is that of %s", info.StorePath)
	}
	return info, nil
}

// patient returns the cache with a client that has no limit of time: a NAR takes as long as it takes, within the limit
// of the context.
func (c *HTTP) patient() *HTTP {
	return &HTTP{URL: c.URL, Client: &http.Client{Transport: c.Client.Transport}}
}

// get requests a file of the cache. Its name comes from the cache; as in Nix, it can be a URL of another server.
// 403 means absent as well: S3 answers it to a client that must not list the bucket.
func (c *HTTP) get(ctx context.Context, method, name string) (*http.Response, error) {
	relative, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("parse %q: not a URL", name)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL.JoinPath("/").ResolveReference(relative).String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.Client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, temporaryError{cause(err)}
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

// twice repeats a request once, after a pause, if it fails with a [temporaryError].
func twice[T any](ctx context.Context, request func() (T, error)) (T, error) {
	answer, err := request()
	if _, ok := errors.AsType[temporaryError](err); !ok {
		return answer, err
	}
	pause := time.NewTimer(httpRetry)
	defer pause.Stop()
	select {
	case <-pause.C:
		return request()
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	}
}

// cause strips what net/http puts before an error: the method and the URL, which the error names already.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
