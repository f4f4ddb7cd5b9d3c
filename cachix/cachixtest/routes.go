package cachixtest

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"path"
	"strings"
)

// routes returns all sides of the server. A request without a matching route is refused, and is a problem like a wrong field.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	unknown := s.endpoint("unknown", refuseText, func(*exchange) error {
		return broken(http.StatusNotFound, "no such endpoint")
	})
	mux.Handle("/", unknown)

	const cache = "/api/v1/cache/{name}"
	api := func(name, pattern string, handle handler) {
		mux.Handle(pattern, s.endpoint(name, refuseJSON, handle))
	}
	api("info", "GET "+cache, s.info)
	api("head", "HEAD "+cache+"/{file}", s.head)
	api("missing", "POST "+cache+"/narinfo", s.missing)
	api("create", "POST "+cache+"/multipart-nar", s.create)
	api("sign", "POST "+cache+"/multipart-nar/{id}", s.signPart)
	api("complete", "POST "+cache+"/multipart-nar/{id}/complete", s.complete)
	api("abort", "POST "+cache+"/multipart-nar/{id}/abort", s.abort)
	api("pin", "POST "+cache+"/pin", s.pin)
	api("pins", "GET "+cache+"/{file}", s.pinList) // "/pin" would be in conflict with head

	mux.Handle("PUT /r2/{id}", s.endpoint("part", refuseXML, s.putPart))

	mux.Handle("GET /nix-cache-info", s.endpoint("cache-info", refuseText, s.cacheInfo))
	mux.Handle("GET /{file}", s.endpoint("narinfo", refuseText, s.narInfo))
	mux.Handle("GET /nar/{file}", s.endpoint("nar", refuseText, s.nar))

	mux.Handle("GET /put/{file...}", s.endpoint("put", refuseText, s.getFile))
	mux.Handle("PUT /put/{file...}", s.endpoint("put", refuseText, s.putFile))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect paths that are not clean.
		if clean := path.Clean(r.URL.Path); clean != r.URL.Path && clean+"/" != r.URL.Path {
			unknown(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// refuseJSON is for the API.
func refuseJSON(w http.ResponseWriter, e *refusal) {
	answerJSON(w, e.status, map[string]string{"error": e.text})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // an error means that the client has closed the connection
}

// refuseXML is for the storage, which answers like S3.
func refuseXML(w http.ResponseWriter, e *refusal) {
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: e.code, Message: e.text})
	if err != nil {
		text = nil // the status is enough
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	_, _ = w.Write(text)
}

// refuseText is for the public side.
func refuseText(w http.ResponseWriter, e *refusal) {
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="binary cache"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(e.status)
	_, _ = w.Write([]byte(strings.TrimSpace(e.text) + "\n"))
}
