// Package cachix is a client of Cachix: it asks about a binary cache, pushes store objects to it and pins them.
//
// A push is safe against whatever a network does. An object becomes visible by one request, the last of its upload,
// and only when all that it refers to is visible: what is there is whole, at every moment, and a push that was cut off
// goes on where it stopped. Every request goes through one retry, one limit that follows what the server bears,
// and one watch that drops a connection on which nothing moves.
//
// The protocol is not documented by its makers; what is known of it comes from the source of their own client.
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

// API is the base of the endpoints that Cachix serves.
const API = "https://cachix.org/api/v1"

// Client talks to Cachix about one cache. It is safe for concurrent use.
type Client struct {
	name       string
	base       string // without a slash at its end
	credential Credential
	agent      string

	// Parts of NAR files go to another host than everything else, without the credential.
	api, storage *http.Client
	throttle     *throttle
	memory       *memory
	patience     patience
}

// Options of a client. The zero value asks Cachix itself, anonymously.
type Options struct {
	// URL is the base of the API, where it is not Cachix's own.
	URL string
	// Credential is what the client may do; the zero value is nothing but to ask.
	Credential Credential
	// Jobs is the most requests that are open at a time; 0 stands for [DefaultJobs].
	Jobs int
	// Agent is sent as User-Agent.
	Agent string
	// Attempts is how often a request is made that fails in passing; 0 for as often as a push should, which outlasts a
	// server's restart.
	Attempts uint

	// patience is for tests, which have less of it.
	patience patience
}

// connectTime is how long a server may take for the beginning of a connection, or for a sign of life.
const connectTime = 15 * time.Second

// DefaultJobs is how many requests are open at a time, if the server bears them.
// A small object needs four round trips one after the other, so that many are needed to fill a link.
const DefaultJobs = 64

// New returns a client for the cache of a name, such as "mine". It sends no request.
func New(name string, o Options) (*Client, error) {
	if !isCacheName(name) {
		return nil, fmt.Errorf("parse cache name %q: want letters, digits, dashes and underscores", name)
	}
	base, err := parseBase(o.URL)
	if err != nil {
		return nil, err
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	patience := o.patience.orDefault()
	patience.tries = cmp.Or(o.Attempts, patience.tries)
	return &Client{
		name: name, base: base, credential: o.Credential, agent: o.Agent,
		api: newHTTPClient(jobs, true), storage: newHTTPClient(jobs, false),
		throttle: newThrottle(jobs, patience.wait), memory: newMemory(), patience: patience,
	}, nil
}

// Name returns the cache's name.
func (c *Client) Name() string { return c.name }

// Close lets go of idle connections.
func (c *Client) Close() {
	c.api.CloseIdleConnections()
	c.storage.CloseIdleConnections()
}

// parseBase checks the base URL of the API. A path before the endpoints is kept.
func parseBase(text string) (string, error) {
	if text == "" {
		return API, nil
	}
	u, err := url.Parse(text)
	if err != nil { // which repeats the text, and that may have a password in it
		return "", errors.New("parse Cachix URL: it is none; want https://HOST/PATH")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("parse Cachix URL %s: want https://HOST/PATH", u.Redacted())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// isCacheName keeps what would be another path of the API out of it.
func isCacheName(name string) bool {
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// NameOf returns the name of the cache whose public side is at the URL, such as https://mine.cachix.org,
// and false for one that is not of Cachix.
func NameOf(public string) (string, bool) {
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "https" {
		return "", false
	}
	name, ok := strings.CutSuffix(u.Hostname(), ".cachix.org")
	return name, ok && isCacheName(name)
}

// unsentBytes is how much of what was written may wait in the kernel for its turn on the link.
const unsentBytes = 128 << 10

// keepUnsentShort has writes to a connection wait until most of what was written before is on its way. By default the
// kernel takes some MB at once: on a slow link the [watch] would see nothing move until all of that has left.
// What is on its way is not limited, and so neither is the speed; see tcp(7) on TCP_NOTSENT_LOWAT.
func keepUnsentShort(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes) // a kernel without it is only less watchful
	})
}

// newHTTPClient returns a client that follows no redirect: no endpoint has one, and a credential must not go along.
// There is no timeout for a whole request, which may be large; [Client.send] watches its progress.
// The storage is spoken to by HTTP/1.1: over one connection of HTTP/2 parts would wait for one another.
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
		// All requests to the API share a connection. When it is dead, the next ones must not be sent there too.
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
