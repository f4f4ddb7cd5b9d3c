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
	// TestToken is the token of a server that was given none. It opens nothing else.
	TestToken = "test-token-of-cachixtest"
	// ExpiredToken is a token that every server knows as expired.
	ExpiredToken = "expired-token-of-cachixtest"

	defaultName    = "scopecreep-zip"
	defaultMinPart = 5 << 20         // of S3 and R2
	defaultURLLife = 5 * time.Minute // X-Amz-Expires=300, as seen in a log of the client
)

// Options of a server. The zero value is a managed public cache that [TestToken] may write.
type Options struct {
	Name       string // of the cache; "scopecreep-zip" where empty
	Token      string // what Authorization: Bearer must carry; TestToken where empty
	Permission string // of the token: "Read", "Write" (where empty) or "Admin"
	Preferred  string // compression that the cache prefers: "ZSTD" (where empty) or "XZ"
	Private    bool   // all sides need the token; the public one as the password of basic authentication

	// SelfSigned is the public key, as "name:base64", of a cache whose owner signs: each path must come with a
	// signature by it. Where empty, the cache is managed: the server signs, by a key that follows from Name.
	SelfSigned string
	// NoToken lets a self-signed cache be pushed to without a token; pins need one all the same.
	NoToken bool

	// Upstream says whether an upstream cache has the path of a hash part: never missing, and good as a reference.
	Upstream func(hash string) bool

	MinPart int64         // least size in bytes of all parts but the last; 5 MiB where 0
	URLLife time.Duration // of a presigned URL; 5 minutes where 0

	// Latency is the round trip of the link: it passes before each answer, and once more when a connection opens
	// and where a client waits for 100 Continue. Bandwidth is bytes a second in each direction, for all connections
	// together. None where 0.
	Latency   time.Duration
	Bandwidth int64

	// Trusting is for benchmarks that share a processor with the server, as no client does with Cachix: bytes are
	// counted and forgotten, and neither hashed nor unpacked. All else is checked. What was pushed can be asked for
	// by HEAD, and not be fetched.
	Trusting bool

	Dir  string        // for the bytes of parts, in a directory made there, which Close removes; memory where empty
	Seed uint64        // of the faults' probabilities
	Log  func(Request) // called once for each request, at its end, by several goroutines
}

// Server is one cache, with the API to fill it. Its methods may be called at any time, by several goroutines.
type Server struct {
	options Options
	keys    keys
	secret  []byte // of the signatures in presigned URLs
	handler http.Handler
	blobs   *blobs
	link    *link
	cache   *contents
	log     requestLog
	rules   ruleBook
	puts    puts
	// hangUpTime is how long it may take until the server knows that a client has hung up, on a busy machine.
	hangUpTime time.Duration

	http    *httptest.Server // nil for a server of NewHandler
	closing chan struct{}
	closed  sync.Once
}

// New starts a server at a free port of the loopback interface; the caller has to Close it.
// Like [httptest.NewServer] it panics where it cannot: without a port, or with options that NewHandler refuses.
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

// NewHandler makes a server that listens nowhere, for a [http.Server] of one's own; the caller has to Close it.
// It fails where a key is not one, a word of the options has no meaning, or Dir cannot be written.
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

// Close ends the server, with whatever stalls in it, and removes the bytes that it kept.
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

// Handler is the server without a listener. URLs that it gives have the host that the request was sent to.
func (s *Server) Handler() http.Handler { return s.handler }

// APIURL is the base of the API, such as http://127.0.0.1:1234/api/v1; empty for a server of NewHandler.
func (s *Server) APIURL() string {
	if s.http == nil {
		return ""
	}
	return s.http.URL + "/api/v1"
}

// PublicURL is the substituter, such as http://127.0.0.1:1234/; empty for a server of NewHandler.
func (s *Server) PublicURL() string {
	if s.http == nil {
		return ""
	}
	return s.http.URL + "/"
}

// baseURL is where the sender of a request found this server, with a slash at its end.
func baseURL(r *http.Request) string { return "http://" + r.Host + "/" }
