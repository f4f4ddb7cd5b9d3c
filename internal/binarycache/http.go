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

// Missing asks for the narinfo of each path. 200 is present; 404 is absent,
// and so is 403, with which S3 answers who may not list its bucket.
// Another answer of 429 or 500 and above, and none at all, is asked for once more. The error names the URL.
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
	u := c.URL.JoinPath(infoName(path)).String()
	has, err := c.head(ctx, u)
	if err == nil || !errors.Is(err, errPassing) {
		return has, err
	}
	pause := time.NewTimer(httpRetry)
	defer pause.Stop()
	select {
	case <-pause.C:
		return c.head(ctx, u)
	case <-ctx.Done():
		return false, fmt.Errorf("ask %s: %w", u, context.Cause(ctx))
	}
}

// errPassing marks the errors that may be gone at the next try.
var errPassing = errors.New("no usable answer")

func (c *HTTP) head(ctx context.Context, u string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u, nil)
	if err != nil {
		return false, fmt.Errorf("ask %s: %w", u, err)
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("ask %s: %w", u, context.Cause(ctx))
		}
		return false, fmt.Errorf("ask %s: %w: %v", u, errPassing, cause(err))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	_ = resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return true, nil
	case code == http.StatusNotFound, code == http.StatusForbidden:
		return false, nil
	case code == http.StatusTooManyRequests, code >= 500:
		return false, fmt.Errorf("ask %s: %w: %s", u, errPassing, resp.Status)
	default:
		return false, fmt.Errorf("ask %s: the answer is %s", u, resp.Status)
	}
}

// cause strips what net/http puts before an error: the method and the URL, which the error names already.
func cause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
