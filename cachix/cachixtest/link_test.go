package cachixtest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, for tests with synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, errors.New("closed")
	}
	return conn, nil
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A link of 20 ms and 1 MiB per second takes exactly that time.
func TestSlowLink(t *testing.T) {
	const latency, bandwidth = 20 * time.Millisecond, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		s, err := NewHandler(Options{Latency: latency, Bandwidth: bandwidth})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		took := func(what string, want time.Duration, do func()) {
			t.Helper()
			begin := time.Now()
			do()
			if got := time.Since(begin); got != want {
				t.Errorf("%s took %v, want %v", what, got, want)
			}
		}

		listening := make(pipes, 1)
		near, far := net.Pipe()
		listening <- far
		conn, err := s.Slow(listening).Accept()
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, bandwidth/4)
		go func() {
			_, _ = near.Write(data)
			_, _ = near.Write(data)
		}()
		read := func() {
			if _, err := io.ReadFull(conn, data); err != nil {
				t.Error(err)
			}
		}
		took("the first quarter", latency+time.Second/4, read)
		took("the second quarter", time.Second/4, read)
		go func() { _, _ = io.ReadFull(near, data) }()
		took("the way back", time.Second/4, func() {
			if n, err := conn.Write(data); n != len(data) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		})

		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/nix-cache-info", nil)
		took("an answer", latency, func() { s.Handler().ServeHTTP(httptest.NewRecorder(), r) })
		r = httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/put/a", http.NoBody)
		r.Header.Set("Expect", "100-continue")
		took("an answer after 100 Continue", 2*latency, func() { s.Handler().ServeHTTP(httptest.NewRecorder(), r) })
	})
}
