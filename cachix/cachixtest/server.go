package cachixtest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

const (
	// TestToken is the default token of a server.
	TestToken = "test-token-of-cachixtest"
	// ExpiredToken is a token that has expired on every server.
	ExpiredToken = "expired-token-of-cachixtest"

	defaultName    = "scopecreep-zip"
	defaultMinPart = 5 << 20         // of S3 and R2
	defaultURLLife = 5 * time.Minute // X-Amz-Expires=300, as seen in a log of the client
)

// Options of a server. The zero value is a managed public cache that [TestToken] may write to.
type Options struct {
	Name       string // of the cache; the default is "scopecreep-zip"
	Token      string // for Authorization: Bearer; the default is TestToken
	Permission string // of the token: "Read", "Write" (the default) or "Admin"
	Preferred  string // preferred compression of the cache: "ZSTD" (the default) or "XZ"
	Private    bool   // all sides need the token; the public side as the password of basic authentication

	// SelfSigned is the public key, as "name:base64", of a cache whose owner signs: each path needs a signature by this key.
	// If it is empty, the cache is managed: the server signs, by a key that depends on Name.
	SelfSigned string
	// NoToken allows to push to a self-signed cache without a token. Pins still need one.
	NoToken bool

	// Upstream returns whether an upstream cache has the path of a hash part. Such a path is never missing.
	Upstream func(hash string) bool

	MinPart int64         // minimum size in bytes of all parts apart from the last; the default is 5 MiB
	URLLife time.Duration // of a presigned URL; the default is 5 minutes

	// Latency is the round trip time of the link: it passes before each answer, when a connection opens, and when a client
	// waits for 100 Continue. Bandwidth is in bytes per second in each direction, for all connections together. 0 means no
	// limit.
	Latency   time.Duration
	Bandwidth int64

	// Trusting is for benchmarks, in which the client shares the processor with the server: bytes are counted, but not stored,
	// hashed or decompressed. All else is checked. Pushed paths answer HEAD, but cannot be fetched.
	Trusting bool

	Dir  string        // for a directory with the bytes of parts, which Close removes; the default is memory
	Seed uint64        // for the probabilities of faults
	Log  func(Request) // called at the end of each request, by several goroutines
}

// Server is a cache with its API. It is safe for concurrent use.
type Server struct {
	options Options
	keys    keys
	secret  []byte // for the signatures of presigned URLs
	handler http.Handler
	blobs   *blobs
	link    *link
	cache   *contents
	log     requestLog
	rules   ruleBook
	puts    puts
	// hangUpTime is the maximum time until the server detects a closed connection, on a busy machine.
	hangUpTime time.Duration

	http    *httptest.Server // nil after NewHandler
	closing chan struct{}
	closed  sync.Once
}

// New starts a server at a free port of the loopback interface. The caller must close it.
// Like [httptest.NewServer], it panics on an error: without a port, or with options that NewHandler refuses.
func New(o Options) *Server {
	s, err := NewHandler(o)
	if err != nil {
		panic(err)
	}
	s.http = httptest.NewUnstartedServer(s.handler)
	s.http.Listener = s.Slow(s.http.Listener)
	s.http.Start()
	return s
}

// NewHandler makes a server without a listener, for another [http.Server]. The caller must close it.
// It returns an error for an invalid key or option, or if it cannot write to Dir.
func NewHandler(o Options) (*Server, error) {
	setDefault(&o.Name, defaultName)
	setDefault(&o.Token, TestToken)
	setDefault(&o.Permission, "Write")
	setDefault(&o.Preferred, "ZSTD")
	setDefault(&o.MinPart, defaultMinPart)
	setDefault(&o.URLLife, defaultURLLife)
	switch o.Permission {
	case "Read", "Write", "Admin":
	default:
		return nil, fmt.Errorf("make Cachix server: permission %q is not Read, Write or Admin", o.Permission)
	}
	if o.Preferred != "ZSTD" && o.Preferred != "XZ" {
		return nil, fmt.Errorf("make Cachix server: compression %q is not ZSTD or XZ", o.Preferred)
	}
	keys, err := keysOf(o)
	if err != nil {
		return nil, fmt.Errorf("make Cachix server: %v", err)
	}
	blobs, err := newBlobs(o)
	if err != nil {
		return nil, fmt.Errorf("make Cachix server: %v", err)
	}
	secret := sha256.Sum256([]byte("presigned URLs of " + o.Name))
	s := &Server{
		options:    o,
		keys:       keys,
		secret:     secret[:],
		blobs:      blobs,
		link:       newLink(o.Latency, o.Bandwidth),
		cache:      newContents(),
		rules:      newRuleBook(o.Seed),
		hangUpTime: 3 * time.Second,
		closing:    make(chan struct{}),
	}
	s.handler = s.routes()
	return s, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Close ends the server and its stalled requests, and removes its files.
func (s *Server) Close() {
	s.closed.Do(func() {
		close(s.closing)
		if s.http != nil {
			s.http.CloseClientConnections()
			s.http.Close()
		}
		s.blobs.close()
	})
}

// Handler returns the server without a listener. Its URLs have the host of the request.
func (s *Server) Handler() http.Handler { return s.handler }

// APIURL is the base URL of the API, such as http://127.0.0.1:1234/api/v1; empty after NewHandler.
func (s *Server) APIURL() string {
	if s.http == nil {
		return ""
	}
	return s.http.URL + "/api/v1"
}

// PublicURL is the URL of the substituter, such as http://127.0.0.1:1234/; empty after NewHandler.
func (s *Server) PublicURL() string {
	if s.http == nil {
		return ""
	}
	return s.http.URL + "/"
}

// baseURL is the URL of this server for the sender of a request, with a slash at its end.
func baseURL(r *http.Request) string { return "http://" + r.Host + "/" }
