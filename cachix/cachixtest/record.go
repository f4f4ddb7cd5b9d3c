package cachixtest

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Request is an entry of the log of requests.
type Request struct {
	// Endpoint is one of: info, missing, create, sign, part, complete, abort, pin, pins (the list of them), head (the
	// query of the API for one path) of the API and its storage; cache-info, narinfo, nar of the public side, for
	// GET and HEAD; put; unknown.
	Endpoint string
	Method   string
	Path     string // without the query
	NARID    string // of its upload, if it has one
	Hash     string // hash part of its store path, if the server has read it
	Part     int    // its number, for sign and part

	Status     int   // of the answer; 0 if there is none, or none yet
	Bytes      int64 // of its body that were read before the answer began, or the connection was cut
	Authorized bool  // it has an Authorization header, valid or not
	Faulty     bool  // a rule of Misbehave applied
	Time       time.Time
}

func (r Request) String() string {
	return fmt.Sprintf("%-10s %s %s %d %d bytes", r.Endpoint, r.Method, r.Path, r.Status, r.Bytes)
}

// requestLog has the requests in the order of their beginning.
type requestLog struct {
	mu       sync.Mutex
	requests []*Request
	problems []string
	begun    chan struct{} // receives a value for each request, if it is not nil; for tests
}

func (l *requestLog) add(r *Request) {
	l.mu.Lock()
	l.requests = append(l.requests, r)
	begun := l.begun
	l.mu.Unlock()
	if begun != nil {
		begun <- struct{}{}
	}
}

// update changes an entry. It is called before an answer begins, so that a client that has the answer sees the entry.
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

// Requests returns all requests so far, in the order of their beginning.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	requests := make([]Request, len(s.log.requests))
	for i, r := range s.log.requests {
		requests[i] = *r
	}
	return requests
}

// Count returns the number of requests of an endpoint, with or without an answer.
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

// Problems returns a line for each request that broke a rule of the protocol. A correct client breaks none, even if the
// server fails. A token that is wrong, expired or not allowed to write is no problem in this sense. Neither is a request
// for an aborted upload, if its client has closed the connection before the answer.
func (s *Server) Problems() []string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return slices.Clone(s.log.problems)
}

// Reset removes all requests and problems from the log. Contents, uploads and rules stay.
func (s *Server) Reset() {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.requests, s.log.problems = nil, nil
}
