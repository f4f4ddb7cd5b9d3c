package cachixtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// exchange is a request and its answer.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	body   *countedBody // that of r
	record *Request     // guarded by the log
	expire bool         // the requested URL must be expired
}

// refusal is an error that is sent as an answer.
type refusal struct {
	status int
	code   string // of S3, for a part
	text   string
	broke  bool // a rule of the protocol, so it is a problem
	late   bool // a problem only if the client still waits for the answer
}

func (e *refusal) Error() string { return e.text }

// refused is the answer to a correct request.
func refused(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// broken is the answer to a request that breaks a rule.
func broken(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...), broke: true}
}

// afterAbort is the answer about an aborted upload. A client that cancels a push does not wait for its open requests, which may
// arrive after the abort. A client that still waits for the answer has broken a rule.
func afterAbort(u *upload) error {
	return &refusal{status: http.StatusNotFound, code: "NoSuchUpload", text: "upload " + u.narID + " was aborted", broke: true, late: true}
}

// handler executes a request. A nil error means that it has answered; an error that is no [refusal] is a status 500.
type handler func(*exchange) error

// refuser writes a refusal in the format of its side of the server.
type refuser func(w http.ResponseWriter, e *refusal)

// endpoint makes a handler of net/http, which records the request, applies faults, and answers errors.
func (s *Server) endpoint(name string, refuse refuser, handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{server: s, r: r, record: &Request{
			Endpoint: name, Method: r.Method, Path: r.URL.Path, Time: time.Now(),
			Authorized: r.Header.Get("Authorization") != "",
		}}
		s.log.add(x.record)
		x.body = &countedBody{ReadCloser: r.Body, first: s.continueDelay(r)}
		r.Body = x.body
		x.w = &answer{ResponseWriter: w, x: x}

		carryOut := func() {
			err := handle(x)
			if err == nil {
				return
			}
			var e *refusal
			if !errors.As(err, &e) {
				e = &refusal{status: http.StatusInternalServerError, code: "InternalError", text: err.Error()}
			}
			x.drain()
			if e.broke && !(e.late && x.disconnected()) {
				x.problem("%s", e.text)
			}
			refuse(x.w, e)
		}
		if fault, ok := s.rules.match(name, r.URL.Path); ok {
			x.update(func(r *Request) { r.Faulty = true })
			x.misbehave(fault, carryOut)
		} else {
			carryOut()
		}
		if s.options.Log != nil {
			s.options.Log(x.snapshot())
		}
	}
}

func (x *exchange) update(change func(*Request)) {
	x.server.log.update(func() { change(x.record) })
}

func (x *exchange) snapshot() (r Request) {
	x.update(func(record *Request) { r = *record })
	return r
}

// problem records that a rule was broken.
func (x *exchange) problem(format string, args ...any) {
	x.server.log.problem(fmt.Sprintf("%s: %s (%s %s)", x.record.Endpoint, fmt.Sprintf(format, args...), x.r.Method, x.r.URL.Path))
}

// drain reads the rest of a body. Without it, a client that still writes would sometimes see a broken connection instead of
// the answer. A client that waits for 100 Continue has not begun to write.
func (x *exchange) drain() {
	if x.r.Header.Get("Expect") == "" {
		_, _ = discard(x.r.Body)
	}
}

// disconnected returns whether the client has closed the connection. net/http detects that only after the body was read.
func (x *exchange) disconnected() bool {
	select {
	case <-x.r.Context().Done():
		return true
	case <-time.After(x.server.hangUpTime):
		return false
	}
}

// cut ends the connection by a reset.
func (x *exchange) cut() {
	x.update(func(r *Request) { r.Bytes = x.body.n.Load() })
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return // an earlier cut
	}
	defer conn.Close()
	if slow, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = slow.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a close that discards unsent data is a reset
	}
}

// continueDelay is the round trip of a client that waits for 100 Continue, which net/http sends at the first read.
func (s *Server) continueDelay(r *http.Request) func() {
	if r.Header.Get("Expect") == "" {
		return func() {}
	}
	return s.link.roundTrip
}

// countedBody counts the bytes that are read of a body.
type countedBody struct {
	io.ReadCloser
	first func() // called before the first read, then nil
	n     atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// answer records the status, and waits for the link, before it sends the answer.
type answer struct {
	http.ResponseWriter
	x     *exchange
	began bool
}

func (a *answer) WriteHeader(status int) {
	if a.began {
		return
	}
	a.began = true
	a.x.server.link.roundTrip()
	a.x.update(func(r *Request) { r.Status, r.Bytes = status, a.x.body.n.Load() })
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
