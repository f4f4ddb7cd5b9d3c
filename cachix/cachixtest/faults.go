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

// Fault is a rule by which the server misbehaves. Of what it may do, the first in this order is done: Stall, Reset,
// LoseAnswer, Truncate; Status replaces the answer, also one that is lost or truncated.
type Fault struct {
	Endpoint    string  // whose requests the rule is for, as in Request; any where empty
	Path        string  // only requests whose path ends so; any where empty
	After       int     // how many of them pass first
	Times       int     // how many of them fail; 0 means all
	Probability float64 // of each to be spoilt; 1 where 0

	Status      int    // answers with this status without carrying the request out,
	RetryAfter  string // and this header: seconds or a date,
	Body        string // and this body
	ContentType string // of a type; JSON where empty

	Reset      bool          // resets the connection, and does not carry the request out
	Stall      time.Duration // says nothing for so long, then resets; negative: until the server closes
	StallAfter int64         // what of the body is read before Reset and Stall; as good as all where it fits the sockets
	Truncate   bool          // carries the request out, declares the answer's length, at least 1, and sends half of it; not for HEAD
	LoseAnswer bool          // carries the request out, then resets the connection
	Expire     bool          // of sign: the URL that it gives has expired
}

// Misbehave adds rules. For each request the first rule that applies is used, and only that counts it.
func (s *Server) Misbehave(faults ...Fault) {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	for _, f := range faults {
		s.rules.rules = append(s.rules.rules, &rule{Fault: f})
	}
}

// Behave drops all rules.
func (s *Server) Behave() {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.rules = nil
}

type rule struct {
	Fault
	seen, used int
}

// ruleBook decides what becomes of a request.
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

// misbehave carries a fault out, and the request as far as the fault allows.
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
		_, _ = x.w.Write(body[:len(body)/2]) // net/http closes a connection that was promised more
	default:
		carryOut()
	}
}

// aside executes a request and drops the answer.
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

// stall waits. That a client has left is seen only where its whole body was read: see [http.Request.Context].
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
