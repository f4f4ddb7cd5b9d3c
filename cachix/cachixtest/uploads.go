package cachixtest

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// maxPartNumber is the maximum in S3.
const maxPartNumber = 10000

type uploadState int

const (
	open uploadState = iota
	aborted
	completed
)

// upload is a multipart upload.
type upload struct {
	narID, uploadID string
	compression     string // as in the query: "xz" or "zst"

	completing sync.Mutex  // held while it is verified, which is done once
	done       *completion // the request that completed it

	// Guarded by contents.
	state uploadState
	parts map[int]part
}

type part struct {
	blob
	eTag string // with its quotes
}

// create answers POST /cache/{name}/multipart-nar.
func (s *Server) create(x *exchange) error {
	if err := x.open(writing, "compression"); err != nil {
		return err
	}
	compression := x.r.URL.Query().Get("compression")
	if compression != "xz" && compression != "zst" {
		return broken(http.StatusBadRequest, "compression is %q, want xz or zst", compression)
	}
	if err := x.noBody(); err != nil {
		return err
	}
	u := s.cache.newUpload(compression)
	x.update(func(r *Request) { r.NARID = u.narID })
	answerJSON(x.w, http.StatusOK, map[string]string{"narId": u.narID, "uploadId": u.uploadID})
	return nil
}

func (c *contents) newUpload(compression string) *upload {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.uploads) + 1
	u := &upload{
		// It has the form of a UUID. It is a counter, so that sequential tests always get the same IDs.
		narID:       fmt.Sprintf("%08x-cac1-4000-8000-%012x", n, n),
		uploadID:    fmt.Sprintf("upload+%d/of=cachixtest", n), // must be escaped in a query
		compression: compression,
		parts:       map[int]part{},
	}
	c.uploads[u.narID] = u
	return u
}

// upload returns the upload of a request. It may have ended.
func (x *exchange) upload() (*upload, error) {
	id := x.r.PathValue("id")
	x.update(func(r *Request) { r.NARID = id })
	c := x.server.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.uploads[id]
	if u == nil || u.uploadID != x.r.URL.Query().Get("uploadId") {
		return nil, broken(http.StatusNotFound, "no upload %s of that uploadId", id)
	}
	return u, nil
}

func (c *contents) stateOf(u *upload) uploadState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return u.state
}

// signPart answers POST /cache/{name}/multipart-nar/{narId}.
func (s *Server) signPart(x *exchange) error {
	if err := x.open(writing, "uploadId", "partNumber"); err != nil {
		return err
	}
	number, err := parsePartNumber(x.r.URL.Query().Get("partNumber"))
	if err != nil {
		return broken(http.StatusBadRequest, "%v", err)
	}
	x.update(func(r *Request) { r.Part = number })
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	contentMD5, err := decodeSignPart(body)
	if err != nil {
		return broken(http.StatusBadRequest, "%v", err)
	}
	u, err := x.upload()
	if err != nil {
		return err
	}
	switch s.cache.stateOf(u) {
	case aborted:
		return afterAbort(u)
	case completed:
		return broken(http.StatusNotFound, "upload %s has been completed", u.narID)
	}
	life := s.options.URLLife
	if x.expire {
		life = -life
	}
	answerJSON(x.w, http.StatusOK, map[string]string{"uploadUrl": s.presign(x.r, u, number, contentMD5, life)})
	return nil
}

// parsePartNumber parses decimal digits. No other form is valid.
func parsePartNumber(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(number) != text || number < 1 || number > maxPartNumber {
		return 0, fmt.Errorf("part number is %q, want one from 1 to %d", text, maxPartNumber)
	}
	return number, nil
}

func decodeSignPart(body []byte) (contentMD5 string, err error) {
	fields, err := decodeFields(body, "contentMD5")
	if err != nil {
		return "", err
	}
	if err := fields.decode("contentMD5", &contentMD5); err != nil {
		return "", err
	}
	if _, err := decodeBase64(contentMD5, 16); err != nil {
		return "", fmt.Errorf("contentMD5: %v", err)
	}
	return contentMD5, nil
}

// abort answers POST /cache/{name}/multipart-nar/{narId}/abort. A second request is no error, because the first
// answer may have been lost.
func (s *Server) abort(x *exchange) error {
	if err := x.open(writing, "uploadId"); err != nil {
		return err
	}
	if err := x.noBody(); err != nil {
		return err
	}
	u, err := x.upload()
	if err != nil {
		return err
	}
	s.cache.mu.Lock()
	state, parts := u.state, u.parts
	if state == open {
		u.state, u.parts = aborted, nil
	}
	s.cache.mu.Unlock()
	if state != open {
		return refused(http.StatusNotFound, "upload %s has ended", u.narID)
	}
	for _, p := range parts {
		p.drop()
	}
	answerJSON(x.w, http.StatusOK, []string{})
	return nil
}
