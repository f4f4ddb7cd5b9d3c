// Package cachix is a client of Cachix: it queries a binary cache, pushes store objects to it and pins them.
//
// A push is safe against network failures. The last request of an upload makes the object visible, and is sent only when
// all references of the object are visible. So the closure of each visible object is complete at all times, and a push
// that was interrupted can be resumed. Every request is retried in the same way, is limited by the same [throttle], and
// ends when no bytes move over its connection.
//
// Cachix does not document the protocol. It is known from the source code of Cachix's own client.
package cachix

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// API is the base URL of the endpoints of Cachix.
const API = "https://cachix.org/api/v1"

// Client talks to Cachix about one cache. It is safe for concurrent use.
type Client struct {
	name       string
	base       string // without a trailing slash
	credential Credential
	agent      string

	// Parts of NAR files are sent to another host than all other requests, without the credential.
	api, storage *http.Client
	throttle     *throttle
	memory       *memory
	policy       retryPolicy
}

// Options of a client. With the zero value, the client queries Cachix itself, anonymously.
type Options struct {
	// URL is the base URL of the API; the default is [API].
	URL string
	// Credential is the right to push; with the zero value, the client can only query.
	Credential Credential
	// Jobs is the maximum number of open requests; the default is [DefaultJobs].
	Jobs int
	// Agent is sent as User-Agent.
	Agent string
	// Attempts is the maximum number of attempts for each request. The default is high enough for a push to survive the
	// restart of a server.
	Attempts uint

	// policy is for tests, which use shorter timeouts.
	policy retryPolicy
}

// connectTime limits the time to connect, and the time until the server answers a ping.
const connectTime = 15 * time.Second

// DefaultJobs is the maximum number of open requests by default. The upload of a small object takes four round trips in
// sequence, so many uploads in parallel are needed to fill a link.
const DefaultJobs = 64

// New returns a client for the named cache, such as "mine". It sends no request.
func New(name string, o Options) (*Client, error) {
	if _, err := ParseName(name); err != nil {
		return nil, err
	}
	base, err := parseBase(o.URL)
	if err != nil {
		return nil, err
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	policy := o.policy
	if policy == (retryPolicy{}) {
		policy = defaultRetryPolicy
	}
	policy.attempts = cmp.Or(o.Attempts, policy.attempts)
	return &Client{
		name: name, base: base, credential: o.Credential, agent: o.Agent,
		api: newHTTPClient(jobs, true), storage: newHTTPClient(jobs, false),
		throttle: newThrottle(jobs, policy.maxRetryAfter), memory: newMemory(), policy: policy,
	}, nil
}

// Name returns the cache's name.
func (c *Client) Name() string { return c.name }

// Close closes idle connections.
func (c *Client) Close() {
	c.api.CloseIdleConnections()
	c.storage.CloseIdleConnections()
}

// parseBase checks the base URL of the API. The URL may have a path.
func parseBase(text string) (string, error) {
	if text == "" {
		return API, nil
	}
	u, err := url.Parse(text)
	if err != nil { // the error contains the URL, which may contain a password
		return "", errors.New("parse Cachix URL: not a URL; want https://HOST/PATH")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("parse Cachix URL %s: want https://HOST/PATH", u.Redacted())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// ParseName returns the name of a cache, such as "mine".
func ParseName(name string) (string, error) {
	if !isCacheName(name) {
		return "", fmt.Errorf("parse cache name %q: want letters, digits, dashes and underscores", name)
	}
	return name, nil
}

// isCacheName returns whether a name is safe to use in a path of the API.
func isCacheName(name string) bool {
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// NameOf returns the name of the cache that Cachix serves at a URL, such as https://mine.cachix.org.
// It returns false for other URLs.
func NameOf(public string) (string, bool) {
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "https" {
		return "", false
	}
	name, ok := strings.CutSuffix(u.Hostname(), ".cachix.org")
	return name, ok && isCacheName(name)
}

// unsentBytes limits the bytes of a connection that wait in the kernel to be sent.
const unsentBytes = 128 << 10

// keepUnsentShort blocks writes to a connection until most of the earlier bytes are sent. By default, the kernel buffers
// some MB: on a slow link, the [stallTimer] would see no progress until all of them are sent. This does not limit the
// bytes in flight, nor the speed; see tcp(7) on TCP_NOTSENT_LOWAT.
func keepUnsentShort(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes) // optional: without it, stalls are detected later
	})
}

// newHTTPClient returns a client that follows no redirects: no endpoint redirects, and a redirect must not receive the
// credential. There is no timeout for a whole request, which may be large; [Client.send] watches its progress.
// The storage uses HTTP/1.1: over one HTTP/2 connection, parts would wait for each other.
func newHTTPClient(jobs int, http2 bool) *http.Client {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTime, Control: keepUnsentShort}).DialContext,
		TLSHandshakeTimeout: connectTime,
		IdleConnTimeout:     60 * time.Second,
		MaxIdleConns:        jobs,
		MaxIdleConnsPerHost: jobs,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      16 << 10,
		DisableCompression:  true,
		// All requests to the API share a connection. Pings detect that it is dead before further requests use it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: connectTime, PingTimeout: connectTime},
	}
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.Protocols.SetHTTP2(http2)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
