package cachixtest

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is a rule for failures of the server. The first of these that is set applies: Stall, Reset, LoseAnswer, Truncate.
// Status replaces the answer, also one that is lost or truncated.
type Fault struct {
	Endpoint    string  // of the requests, as in Request; empty for any
	Path        string  // suffix of the path of the requests; empty for any
	After       int     // number of such requests before the first fault
	Times       int     // number of requests that fail; 0 for all
	Probability float64 // that a request fails; 0 means 1

	Status      int    // answers with this status without executing the request,
	RetryAfter  string // this header, in seconds or as a date,
	Body        string // this body,
	ContentType string // and this type; empty for JSON

	Reset      bool          // resets the connection without executing the request
	Stall      time.Duration // sends nothing for this time, then resets; negative: until the server closes
	StallAfter int64         // bytes of the body that are read before Reset and Stall; small bodies arrive in any case
	Truncate   bool          // executes the request, declares the length of the answer, at least 1, and sends half of it; not for HEAD
	LoseAnswer bool          // executes the request, then resets the connection
	Expire     bool          // for sign: the URL in the answer has expired
}

// Misbehave adds rules. For each request, the first matching rule applies, and only that rule counts it.
func (s *Server) Misbehave(faults ...Fault) {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	for _, f := range faults {
		s.rules.rules = append(s.rules.rules, &rule{Fault: f})
	}
}

// Behave removes all rules.
func (s *Server) Behave() {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.rules = nil
}

type rule struct {
	Fault
	seen, used int
}

// ruleBook finds the fault of a request.
type ruleBook struct {
	mu     sync.Mutex
	random *rand.Rand
	rules  []*rule
}

func newRuleBook(seed uint64) ruleBook {
	return ruleBook{random: rand.New(rand.NewPCG(seed, 0))}
}

func (b *ruleBook) match(endpoint, path string) (Fault, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.Endpoint != "" && r.Endpoint != endpoint || !strings.HasSuffix(path, r.Path) || r.Times > 0 && r.used >= r.Times {
			continue
		}
		r.seen++
		if r.seen <= r.After || r.Probability > 0 && b.random.Float64() >= r.Probability {
			continue
		}
		r.used++
		return r.Fault, true
	}
	return Fault{}, false
}

// misbehave applies a fault, and executes the request if the fault allows it.
func (x *exchange) misbehave(f Fault, carryOut func()) {
	x.expire = f.Expire
	if f.Status != 0 {
		carryOut = func() { x.answerFault(f) }
	}
	switch {
	case f.Stall != 0:
		_, _ = io.CopyN(io.Discard, x.r.Body, f.StallAfter)
		x.stall(f.Stall)
		x.cut()
	case f.Reset:
		_, _ = io.CopyN(io.Discard, x.r.Body, f.StallAfter)
		x.cut()
	case f.LoseAnswer:
		x.aside(carryOut)
		x.cut()
	case f.Truncate:
		spoilt := x.aside(carryOut)
		for name, values := range spoilt.Header() {
			x.w.Header()[name] = values
		}
		body := spoilt.Body.Bytes()
		if x.r.Method != http.MethodHead {
			x.w.Header().Set("Content-Length", strconv.Itoa(max(len(body), 1)))
		}
		x.w.WriteHeader(spoilt.Code)
		_, _ = x.w.Write(body[:len(body)/2]) // net/http closes a connection if the answer is shorter than declared
	default:
		carryOut()
	}
}

// aside executes a request, and discards the answer.
func (x *exchange) aside(carryOut func()) *httptest.ResponseRecorder {
	w, recorder := x.w, httptest.NewRecorder()
	x.w = recorder
	carryOut()
	x.w = w
	return recorder
}

func (x *exchange) answerFault(f Fault) {
	x.drain()
	contentType := f.ContentType
	setDefault(&contentType, "application/json;charset=utf-8")
	x.w.Header().Set("Content-Type", contentType)
	if f.RetryAfter != "" {
		x.w.Header().Set("Retry-After", f.RetryAfter)
	}
	x.w.WriteHeader(f.Status)
	_, _ = io.WriteString(x.w, f.Body)
}

// stall waits. It detects a closed connection only if the whole body was read: see [http.Request.Context].
func (x *exchange) stall(d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-x.r.Context().Done():
	case <-x.server.closing:
	}
}
