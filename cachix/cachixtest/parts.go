package cachixtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxPart is the maximum size of a part in S3.
const maxPart = 5 << 30

// Parameters of a presigned URL in S3.
const (
	amzDate      = "X-Amz-Date"
	amzExpires   = "X-Amz-Expires"
	amzSigned    = "X-Amz-SignedHeaders"
	amzSignature = "X-Amz-Signature"
	amzTime      = "20060102T150405.000000000Z" // more precise than in S3: the URLs of tests expire after milliseconds
)

// presign makes the URL to send one part to: with these bytes, at this host, until it expires.
func (s *Server) presign(r *http.Request, u *upload, number int, contentMD5 string, life time.Duration) string {
	query := url.Values{
		"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"},
		amzDate:           {time.Now().UTC().Format(amzTime)},
		amzExpires:        {strconv.FormatFloat(life.Seconds(), 'f', -1, 64)},
		amzSigned:         {"content-md5;host"},
		"partNumber":      {strconv.Itoa(number)},
		"uploadId":        {u.uploadID},
	}
	query.Set(amzSignature, s.signURL("/r2/"+u.narID, query, contentMD5, r.Host))
	return baseURL(r) + "r2/" + u.narID + "?" + query.Encode()
}

// signURL replaces the signature of AWS. It covers the same fields.
func (s *Server) signURL(path string, query url.Values, contentMD5, host string) string {
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "PUT\n%s\n%s\ncontent-md5:%s\nhost:%s\n", path, query.Encode(), contentMD5, host)
	return hex.EncodeToString(mac.Sum(nil))
}

// breach is a refusal of the storage because a rule was broken.
func breach(status int, code, format string, args ...any) error {
	return &refusal{status: status, code: code, text: fmt.Sprintf(format, args...), broke: true}
}

// putPart answers PUT to a presigned URL.
func (s *Server) putPart(x *exchange) error {
	query := x.r.URL.Query()
	number, err := parsePartNumber(query.Get("partNumber"))
	if err != nil {
		return breach(http.StatusBadRequest, "InvalidArgument", "%v", err)
	}
	x.update(func(r *Request) { r.NARID, r.Part = x.r.PathValue("id"), number })
	if err := checkPartHeader(x.r); err != nil {
		return err
	}
	if err := s.checkPresigned(x.r, query); err != nil {
		return err
	}
	u, err := x.upload()
	if err != nil {
		return breach(http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist: %v", err)
	}
	switch s.cache.stateOf(u) {
	case aborted:
		return afterAbort(u)
	case completed:
		return breach(http.StatusNotFound, "NoSuchUpload", "upload %s has been completed", u.narID)
	}
	eTag, err := s.receive(x, u, number)
	if err != nil {
		return err
	}
	x.w.Header().Set("ETag", eTag)
	x.w.WriteHeader(http.StatusOK)
	return nil
}

// checkPartHeader checks for headers that a correct client never sends, or always sends.
func checkPartHeader(r *http.Request) error {
	header := r.Header
	switch {
	case header.Get("Authorization") != "":
		return breach(http.StatusBadRequest, "InvalidRequest", "Only one auth mechanism allowed: Authorization beside a presigned URL")
	case header.Get("Cookie") != "":
		return breach(http.StatusBadRequest, "InvalidRequest", "a cookie beside a presigned URL")
	case header.Get("Expect") != "":
		return breach(http.StatusExpectationFailed, "InvalidRequest", "Expect: %s", header.Get("Expect"))
	case r.ContentLength < 0:
		return breach(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	case r.ContentLength == 0:
		return breach(http.StatusBadRequest, "InvalidRequest", "the part is empty")
	case r.ContentLength > maxPart:
		return breach(http.StatusBadRequest, "EntityTooLarge", "the part has %d bytes, may have %d", r.ContentLength, int64(maxPart))
	case header.Get("Content-MD5") == "":
		return breach(http.StatusForbidden, "SignatureDoesNotMatch", "the header Content-MD5 is signed, and missing")
	}
	return nil
}

// checkPresigned compares a request with the signature in its URL. An expired URL is no problem, because the link may be
// slow. But it is a problem if the client uses it again.
func (s *Server) checkPresigned(r *http.Request, query url.Values) error {
	given := query.Get(amzSignature)
	query.Del(amzSignature)
	want := s.signURL(r.URL.Path, query, r.Header.Get("Content-MD5"), r.Host)
	if !hmac.Equal([]byte(given), []byte(want)) {
		return breach(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided: "+
			"another URL, or another Content-MD5 than that which was signed")
	}
	// Both were signed, so both can be parsed.
	signed, _ := time.Parse(amzTime, query.Get(amzDate))
	life, _ := time.ParseDuration(query.Get(amzExpires) + "s")
	if time.Since(signed) > life {
		again := s.cache.expire(given)
		return &refusal{status: http.StatusForbidden, code: "AccessDenied", text: "Request has expired", broke: again}
	}
	return nil
}

// expire records that the URL with a signature was refused as expired, and returns whether that happened before.
func (c *contents) expire(signature string) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again = c.expired[signature]
	c.expired[signature] = true
	return again
}

// receive stores the bytes of a part. As in S3, it replaces an existing part: the first answer may have been lost.
func (s *Server) receive(x *exchange, u *upload, number int) (eTag string, err error) {
	bytes, sum, err := s.blobs.take(x.r.Body, x.r.ContentLength)
	if err != nil {
		return "", &refusal{status: http.StatusBadRequest, code: "IncompleteBody", text: fmt.Sprintf("read part: %v", err)}
	}
	contentMD5 := x.r.Header.Get("Content-MD5")
	if sum == nil { // not computed
		sum, _ = base64.StdEncoding.DecodeString(contentMD5)
	}
	if base64.StdEncoding.EncodeToString(sum) != contentMD5 {
		bytes.drop()
		return "", breach(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	p := part{blob: bytes, eTag: `"` + hex.EncodeToString(sum) + `"`}

	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if u.state != open {
		bytes.drop()
		return "", &refusal{status: http.StatusNotFound, code: "NoSuchUpload", text: "The upload has ended meanwhile."}
	}
	if old, ok := u.parts[number]; ok {
		old.drop()
	}
	u.parts[number] = p
	return p.eTag, nil
}
