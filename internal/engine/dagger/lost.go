package dagger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// call makes one call to the engine. It ends with the context, with the session, and after the limit. After the limit, the
// engine counts as lost.
func (s *session) call(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() {
		select {
		case <-s.gone:
			cancel()
		case <-call.Done():
		}
	}()
	err := f(call)
	switch {
	case err == nil, ctx.Err() != nil:
		return err
	case errors.Is(call.Err(), context.DeadlineExceeded):
		return s.lose("no answer after " + span(limit))
	}
	return err
}

// lose marks the engine as lost, if it is not yet, and returns the error. All current and later calls end with that error.
func (s *session) lose(reason string) error {
	s.losing.Do(func() {
		s.loss = errLost(reason)
		close(s.gone)
		if s.child != nil {
			s.kill()
		}
	})
	return s.loss
}

// watch sends the engine a query at intervals, until the session is closed. After several queries without an answer, the
// engine is lost: no connection reports that the engine was stopped or cannot be reached.
func (s *session) watch(notice func(string)) {
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan bool, 1)
	ended := make(chan struct{})
	s.unwatch = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		tick := time.NewTicker(s.limits.silence / pulses)
		defer tick.Stop()
		asking := false
		for missed := 0; missed < pulses; {
			select {
			case <-ctx.Done():
				return
			case <-s.gone:
				return
			case ok := <-answered:
				asking = false
				if ok {
					missed = 0
				}
			case <-tick.C:
				if missed++; missed == pulses/2 {
					notice(fmt.Sprintf("the Dagger engine has not answered for %s; after %s it counts as lost", span(s.limits.silence/2), span(s.limits.silence)))
				}
				if !asking {
					asking = true
					go func() { answered <- s.ping(ctx) }()
				}
			}
		}
		s.lose("it has not answered for " + span(s.limits.silence))
	}()
}

// ping sends the engine a trivial query and reports whether it answers.
func (s *session) ping(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Host()+"/query", strings.NewReader(`{"query":"{__typename}"}`))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := s.Do(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return err == nil && response.StatusCode != http.StatusBadGateway // the client's answer if it has no engine
}

// lost returns an error if err, of a query, means that the engine is lost; else nil.
func (s *session) lost(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.gone:
		return s.loss
	default:
	}
	if errors.Is(err, errGone) {
		return errLost(plain(err)) // only the container is lost; the next call shows whether the engine is too
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.lose(plain(err))
	}
	for _, words := range []string{
		"returned error 502", // by the client, which could not pass the query on
		"engine is shutting down", "no active session", "transport is closing", "client connection is closing", "error reading from server: EOF",
	} {
		if strings.Contains(err.Error(), words) {
			return s.lose(plain(err))
		}
	}
	return nil
}

func errLost(reason string) error {
	return hint.Wrap(fmt.Errorf("%w: %s", engine.ErrEngineLost, reason),
		"look at the engine's log, start the engine if it has ended, and run the same command again; an engine that did not end cleanly starts with an empty cache and builds everything again")
}
