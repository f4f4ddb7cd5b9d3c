package cachix

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

const (
	// partSize is the usual size of a part. Smaller parts need more round trips, larger parts more memory.
	partSize = 8 << 20
	// maxParts is the maximum number of parts, with a reserve for data that cannot be compressed.
	maxParts = 9000
)

// partSizeFor returns the size of the parts of a NAR. All parts of an upload have the same size, apart from the last.
func partSizeFor(narSize int64) int64 {
	const mebi = 1 << 20
	need := (narSize + narSize/64) / maxParts
	return max(partSize, (need+mebi-1)/mebi*mebi)
}

// part is a part of a NAR file. Its bytes can be read again for each attempt.
type part struct {
	number int // from 1
	data   *io.SectionReader
	md5    [md5.Size]byte
	done   func() // releases the bytes; called once
}

// upload is the upload of a NAR file: it is created, sent in parts, and then completed or aborted.
type upload struct {
	client    *Client
	narID, id string

	sending sync.WaitGroup
	mu      sync.Mutex
	parts   []completedPart
	err     error // the first of all parts
}

// completedPart is the answer of the storage for a part. Its ETag is returned unchanged, with its quotes.
type completedPart struct {
	PartNumber int    `json:"partNumber"`
	ETag       string `json:"eTag"`
}

// create begins an upload. POST /cache/{name}/multipart-nar?compression=
func (c *Client) create(ctx context.Context, compression nar.Compression) (*upload, error) {
	method := map[nar.Compression]string{nar.Zstd: "zst", nar.XZ: "xz"}[compression]
	var answer struct {
		NARID    string `json:"narId"`
		UploadID string `json:"uploadId"`
	}
	err := c.call(ctx, apiCall{
		does: "create upload", method: http.MethodPost, path: "/multipart-nar",
		query: url.Values{"compression": {method}}, answer: &answer, limits: limits{lasting: true},
	})
	if err != nil {
		return nil, c.advise(err)
	}
	if answer.NARID == "" || answer.UploadID == "" {
		return nil, errors.New("create upload: the answer has no narId or no uploadId")
	}
	return &upload{client: c, narID: answer.NARID, id: answer.UploadID}, nil
}

// send sends a part in the background, unless one has failed. The memory that is reserved for a part limits how many
// are sent at the same time. When a part has arrived, send calls sent with its size.
func (u *upload) send(ctx context.Context, p part, sent func(int64)) {
	if u.failed() != nil {
		p.done()
		return
	}
	u.sending.Go(func() {
		defer p.done()
		etag, err := u.put(ctx, p)
		if err == nil {
			sent(p.data.Size())
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if err != nil && u.err == nil {
			u.err = err
		}
		u.parts = append(u.parts, completedPart{PartNumber: p.number, ETag: etag})
	})
}

func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// wait returns when all parts are sent or have failed.
func (u *upload) wait() error {
	u.sending.Wait()
	return u.failed()
}

// put sends a part, with retries. Each attempt requests a new URL: a URL expires after some minutes.
// POST /cache/{name}/multipart-nar/{narId}?uploadId=&partNumber=, then PUT to the URL.
func (u *upload) put(ctx context.Context, p part) (etag string, err error) {
	err = u.client.retry(ctx, fmt.Sprintf("send part %d", p.number), func(ctx context.Context) error {
		sum := base64.StdEncoding.EncodeToString(p.md5[:])
		var signed struct {
			URL string `json:"uploadUrl"`
		}
		err := u.client.ask(ctx, apiCall{
			method: http.MethodPost, path: "/multipart-nar/" + url.PathEscape(u.narID),
			query: url.Values{"uploadId": {u.id}, "partNumber": {strconv.Itoa(p.number)}},
			body:  map[string]string{"contentMD5": sum}, answer: &signed,
		})
		if err != nil {
			return err
		}
		etag, err = u.client.putPart(ctx, signed.URL, sum, p.data)
		return err
	})
	return etag, u.client.adviseOnToken(err)
}

// putPart sends bytes to a signed URL. It sends no Authorization header: the storage would refuse it.
func (c *Client) putPart(ctx context.Context, signed, sum string, data *io.SectionReader) (etag string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, signed, http.NoBody)
	if err != nil || request.URL.Host == "" || request.URL.User != nil { // a user name would become an Authorization header
		return "", errors.New("the answer has no usable uploadUrl") // without the URL, which is a secret
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	request.Header.Set("Content-MD5", sum)
	answer, err := c.send(c.storage, request, io.NewSectionReader(data, 0, data.Size()), limits{})
	if hasStatus(err, http.StatusForbidden) {
		// The URL has expired, because the link is slow or a clock is wrong: the next attempt requests another.
		return "", &unansweredError{err.Error()}
	}
	if err != nil {
		return "", err
	}
	if etag = answer.header.Get("ETag"); etag == "" {
		return "", &unansweredError{"the storage gave no ETag for the part"}
	}
	return etag, nil
}

// complete makes the store object visible. POST /cache/{name}/multipart-nar/{narId}/complete?uploadId=
//
// If the server refuses, complete checks whether the object is visible. If an earlier answer was lost, the server has
// completed the upload, and refuses the next attempt because the upload does not exist any more. Another client may also
// have pushed the same object.
func (u *upload) complete(ctx context.Context, info narInfoCreate) error {
	slices.SortFunc(u.parts, func(a, b completedPart) int { return a.PartNumber - b.PartNumber })
	err := u.client.call(ctx, apiCall{
		does: "complete upload", method: http.MethodPost, path: "/multipart-nar/" + url.PathEscape(u.narID) + "/complete",
		query: url.Values{"uploadId": {u.id}},
		body: struct {
			Parts  []completedPart `json:"parts"`
			Create narInfoCreate   `json:"narInfoCreate"`
		}{u.parts, info},
		limits: limits{stall: u.client.policy.completeTimeout, lasting: true},
	})
	if _, refused := errors.AsType[*StatusError](err); refused {
		if there, headErr := u.client.Has(ctx, info.StoreHash); headErr == nil && there {
			return nil
		}
	}
	return u.client.adviseOnToken(err)
}

// abort aborts the upload, so that no parts remain in the storage, and returns whether the upload has ended. Its context
// must last longer than that of the push, because a cancelled push aborts its uploads.
func (u *upload) abort(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTime) // the server may be down
	defer cancel()
	_ = u.wait() // a part that arrives later would remain
	err := u.requestAbort(ctx)
	return err == nil || isEnded(err)
}
