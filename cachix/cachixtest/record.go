package cachixtest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Request is what the server remembers of one request.
type Request struct {
	// Endpoint is one of: info, missing, create, sign, part, complete, abort, pin, pins (the list of them), head (the
	// API's own question for one path) of the API and its storage; cache-info, narinfo, nar of the public side, for
	// GET and HEAD; put; unknown.
	Endpoint string
	Method   string
	Path     string // without the query
	NARID    string // of the upload that it is about, where there is one
	Hash     string // hash part of the store path that it is about, where the server got so far as to know
	Part     int    // its number, for sign and part

	Status     int   // of the answer; 0 where the connection was cut before one, or where there is none yet
	Bytes      int64 // of its body that were read when the answer began, or the connection was cut
	Authorized bool  // it carried an Authorization header, whatever was in it
	Faulty     bool  // a rule of Misbehave was applied
	Time       time.Time
}

func (r Request) String() string {
	return fmt.Sprintf("%-10s %s %s %d %d bytes", r.Endpoint, r.Method, r.Path, r.Status, r.Bytes)
}

// requestLog keeps requests in the order in which they came.
type requestLog struct {
	mu       sync.Mutex
	requests []*Request
	problems []string
}

func (l *requestLog) add(r *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
}

// update changes an entry. It is done before an answer begins, so that whoever has seen the answer sees the entry.
func (l *requestLog) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *requestLog) problem(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, text)
}

// Requests returns what was asked so far, in the order in which requests began.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	requests := make([]Request, len(s.log.requests))
	for i, r := range s.log.requests {
		requests[i] = *r
	}
	return requests
}

// Count returns how many requests an endpoint got, answered or not.
func (s *Server) Count(endpoint string) int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	n := 0
	for _, r := range s.log.requests {
		if r.Endpoint == endpoint {
			n++
		}
	}
	return n
}

// Problems returns a line for each request that broke a rule of the protocol: a right client makes none, whatever
// the server does. A token that is wrong, expired or not allowed to write is no problem of this kind, nor is a request
// for an upload that was aborted meanwhile, if its client has hung up before the answer.
func (s *Server) Problems() []string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.problems)
}

// Reset forgets requests and problems. Contents, uploads and rules stay.
func (s *Server) Reset() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.requests, s.log.problems = nil, nil
}
