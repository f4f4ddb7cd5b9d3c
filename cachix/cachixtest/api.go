package cachixtest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxBody is the maximum size of a body: slightly more than the largest query of the client.
const maxBody = 1_200_000

// maxHashes is the maximum number of paths in a query of the client.
const maxHashes = 32768

// access is the right that a request needs.
type access int

const (
	reading access = iota // no token, unless the cache is private
	asking                // any valid token
	writing
	pinning // a token that allows to write, even if a push needs none
)

// open checks what all requests to the API have in common. The first error is the most useful one.
// The query must have exactly the given parameters.
func (x *exchange) open(need access, query ...string) error {
	s := x.server
	if name := x.r.PathValue("name"); name != s.options.Name {
		return refused(http.StatusNotFound, "Binary cache %s doesn't exist", name)
	}
	if err := s.admit(x.r.Header, need); err != nil {
		return err
	}
	if x.r.Method != http.MethodHead && !accepts(x.r.Header, "application/json") {
		return broken(http.StatusNotAcceptable, "Accept is %q, want application/json", x.r.Header.Get("Accept"))
	}
	values, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return broken(http.StatusBadRequest, "query: %v", err)
	}
	for name, given := range values {
		if !slices.Contains(query, name) || len(given) != 1 {
			return broken(http.StatusBadRequest, "query parameter %s: unknown, or given twice", name)
		}
	}
	for _, name := range query {
		if values.Get(name) == "" {
			return broken(http.StatusBadRequest, "query parameter %s is missing", name)
		}
	}
	return nil
}

func (s *Server) admit(header http.Header, need access) error {
	unauthorized := "Binary cache " + s.options.Name + " doesn't exist or you're not authorized to access it"
	given := header.Get("Authorization")
	scheme, token, _ := strings.Cut(given, " ")
	switch {
	case given != "" && scheme != "Bearer":
		return broken(http.StatusUnauthorized, "%s: Authorization is %s, want Bearer", unauthorized, scheme)
	case token == "" && need == reading && !s.options.Private:
		return nil
	case token == "" && need < pinning && s.options.NoToken && s.keys.signer == nil:
		return nil
	case token == "" && need == reading:
		return refused(http.StatusUnauthorized, "%s", unauthorized)
	case token == "":
		return broken(http.StatusUnauthorized, "%s: no token", unauthorized)
	case token == ExpiredToken:
		return refused(http.StatusUnauthorized, "Cachix Auth token \"test\" has expired.")
	case token != s.options.Token:
		return refused(http.StatusUnauthorized, "%s", unauthorized)
	case need >= writing && s.options.Permission == "Read":
		return refused(http.StatusUnauthorized, "%s: the token may only read", unauthorized)
	}
	return nil
}

func accepts(header http.Header, mediaType string) bool {
	for _, value := range header.Values("Accept") {
		for one := range strings.SplitSeq(value, ",") {
			if got, _, err := mime.ParseMediaType(one); err == nil && got == mediaType {
				return true
			}
		}
	}
	return false
}

// readJSON reads a body, which must be JSON.
func (x *exchange) readJSON() ([]byte, error) {
	contentType := x.r.Header.Get("Content-Type")
	got, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	if err != nil || got != "application/json" || charset != "" && charset != "utf-8" {
		return nil, broken(http.StatusUnsupportedMediaType, "Content-Type is %q, want application/json", contentType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, broken(http.StatusRequestEntityTooLarge, "body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, refused(http.StatusBadRequest, "read body: %v", err)
	}
	if !utf8.Valid(body) {
		return nil, broken(http.StatusBadRequest, "body is not UTF-8") // the decoder would replace the invalid bytes
	}
	return body, nil
}

// noBody checks that there is no body.
func (x *exchange) noBody() error {
	if n, err := discard(x.r.Body); err != nil || n > 0 {
		return broken(http.StatusBadRequest, "a body of %d bytes, want none", n)
	}
	return nil
}

// info answers GET /cache/{name}.
func (s *Server) info(x *exchange) error {
	if err := x.open(reading); err != nil {
		return err
	}
	permission := s.options.Permission
	if !x.record.Authorized {
		permission = "Read"
	}
	answerJSON(x.w, http.StatusOK, map[string]any{
		"name":                       s.options.Name,
		"uri":                        baseURL(x.r),
		"isPublic":                   !s.options.Private,
		"publicSigningKeys":          s.PublicKeys(),
		"githubUsername":             "cachixtest",
		"permission":                 permission,
		"preferredCompressionMethod": s.options.Preferred,
	})
	return nil
}

// missing answers POST /cache/{name}/narinfo.
func (s *Server) missing(x *exchange) error {
	if err := x.open(asking); err != nil {
		return err
	}
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	hashes, err := decodeHashes(body)
	if err != nil {
		return broken(http.StatusBadRequest, "%v", err)
	}
	asked := make(map[string]int, len(hashes))
	missing := []string{}
	for _, hash := range hashes {
		asked[hash]++
		// The server removes each existing path from the list once, so it reports duplicates as missing
		// (github.com/cachix/cachix/issues/625).
		if asked[hash] > 1 || !s.has(hash) {
			missing = append(missing, hash)
		}
	}
	if len(asked) < len(hashes) {
		x.problem("%d hashes, of which %d are duplicates", len(hashes), len(hashes)-len(asked))
	}
	answerJSON(x.w, http.StatusOK, missing)
	return nil
}

// has returns whether this cache or an upstream cache has a path.
func (s *Server) has(hash string) bool {
	return s.cache.path(hash) != nil || s.options.Upstream != nil && s.options.Upstream(hash)
}

// hasPath returns the same for a whole path: the hash part alone is not enough. In upstream caches, only hash parts are known.
func (s *Server) hasPath(path nix.StorePath) bool {
	if here := s.cache.path(path.Digest()); here != nil {
		return here.info.StorePath == path
	}
	return s.has(path.Digest())
}

// head answers HEAD /cache/{name}/{hash}.narinfo.
func (s *Server) head(x *exchange) error {
	if err := x.open(reading); err != nil {
		return err
	}
	hash, ok := strings.CutSuffix(x.r.PathValue("file"), ".narinfo")
	if !ok || checkHashPart(hash) != nil {
		return broken(http.StatusNotFound, "not the narinfo of a hash part")
	}
	x.update(func(r *Request) { r.Hash = hash })
	if s.cache.path(hash) == nil {
		return refused(http.StatusNotFound, "no such narinfo")
	}
	x.w.WriteHeader(http.StatusOK)
	return nil
}
