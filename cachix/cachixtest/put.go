package cachixtest

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// puts is the plain binary cache below /put/. It stores and serves any file, without a token, so that nix copy --to http://…
// can be compared with a push over the same link.
type puts struct {
	mu    sync.Mutex
	files map[string]*object
}

// putFile answers PUT /put/<name>.
func (s *Server) putFile(x *exchange) error {
	name := x.r.PathValue("file")
	if name == "" {
		return refused(http.StatusNotFound, "a file without a name")
	}
	var bytes blob
	var err error
	switch {
	case !strings.HasPrefix(name, "nar/") || x.r.ContentLength < 0 && !s.blobs.trusting:
		// A small body, or one of unknown length.
		var data []byte
		data, err = io.ReadAll(x.r.Body)
		bytes = memory(data)
	default:
		bytes, _, err = s.blobs.take(x.r.Body, x.r.ContentLength)
	}
	if err != nil {
		return refused(http.StatusBadRequest, "read %s: %v", name, err)
	}
	s.puts.mu.Lock()
	defer s.puts.mu.Unlock()
	if s.puts.files == nil {
		s.puts.files = map[string]*object{}
	}
	if old := s.puts.files[name]; old != nil {
		old.drop()
	}
	s.puts.files[name] = newObject(bytes)
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// getFile answers GET and HEAD /put/<name>.
func (s *Server) getFile(x *exchange) error {
	s.puts.mu.Lock()
	o := s.puts.files[x.r.PathValue("file")]
	s.puts.mu.Unlock()
	if o == nil {
		return refused(http.StatusNotFound, "not found")
	}
	return x.serve("application/octet-stream", o)
}
