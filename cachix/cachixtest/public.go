package cachixtest

import (
	"io"
	"net/http"
	"strings"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// enter checks the token of a consumer of a private cache. Nix sends it from a netrc file, as the password of basic
// authentication, without a name.
func (s *Server) enter(r *http.Request) error {
	if !s.options.Private {
		return nil
	}
	if _, password, ok := r.BasicAuth(); !ok || password != s.options.Token {
		return refused(http.StatusUnauthorized, "the cache is private: no token, or not its own")
	}
	return nil
}

// cacheInfo answers GET /nix-cache-info.
func (s *Server) cacheInfo(x *exchange) error {
	if err := s.enter(x.r); err != nil {
		return err
	}
	// Caches of Cachix have priority 41: after cache.nixos.org, which has 40.
	info := gonix.CacheInfo{StoreDirectory: nix.StoreDir, WantMassQuery: true, Priority: 41}
	text, err := info.MarshalText()
	if err != nil {
		return err
	}
	return x.serveText("text/x-nix-cache-info", string(text))
}

// narInfo answers GET /<hash>.narinfo.
func (s *Server) narInfo(x *exchange) error {
	if err := s.enter(x.r); err != nil {
		return err
	}
	hash, ok := strings.CutSuffix(x.r.PathValue("file"), ".narinfo")
	if !ok {
		return refused(http.StatusNotFound, "not found")
	}
	x.update(func(r *Request) { r.Hash = hash })
	text, ok := s.NARInfo(hash)
	if !ok {
		return refused(http.StatusNotFound, "no such narinfo")
	}
	return x.serveText("text/x-nix-narinfo", text)
}

// nar answers GET /nar/<file hash>.nar.<compression>, with ranges.
func (s *Server) nar(x *exchange) error {
	if err := s.enter(x.r); err != nil {
		return err
	}
	nar := s.cache.narFile(x.r.PathValue("file"))
	if nar == nil {
		return refused(http.StatusNotFound, "no such NAR")
	}
	return x.serve("application/x-nix-nar", nar)
}

func (x *exchange) serveText(contentType, text string) error {
	return x.serve(contentType, newObject(memory(text)))
}

// serve answers GET and HEAD for a file.
func (x *exchange) serve(contentType string, o *object) error {
	r := o.reader()
	defer r.Close()
	if x.r.Method != http.MethodHead {
		// A trusting server has no bytes, so this must be known before an answer with status 200 begins.
		if _, err := r.Read(make([]byte, 1)); err != nil && err != io.EOF {
			return refused(http.StatusGone, "%v", err)
		}
	}
	x.w.Header().Set("Content-Type", contentType)
	http.ServeContent(x.w, x.r, "", time.Time{}, r)
	return nil
}
