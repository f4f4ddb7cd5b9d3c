package cachix

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// UploadLog records the uploads of a push, so that another process can abort them if the push is killed.
// It is safe for concurrent use.
type UploadLog interface {
	// Begun is called when an upload has begun. ID is one line of text, for [Client.AbortUploads].
	Begun(id string)
	// Ended is called when that upload is complete or aborted.
	Ended(id string)
}

// noUploadLog records nothing.
type noUploadLog struct{}

func (noUploadLog) Begun(string) {}
func (noUploadLog) Ended(string) {}

// Destination identifies the server and the cache to which upload IDs belong.
func (c *Client) Destination() string { return c.base + "/cache/" + c.name }

// reference returns the ID of the upload in an [UploadLog].
func (u *upload) reference() string { return url.PathEscape(u.narID) + " " + url.QueryEscape(u.id) }

// AbortUploads aborts uploads of this cache that another process has begun, and returns how many were open.
// It ignores uploads that the server does not know, and invalid IDs.
func (c *Client) AbortUploads(ctx context.Context, ids []string) (aborted int, err error) {
	var group errgroup.Group
	group.SetLimit(DefaultJobs)
	var open atomic.Int64
	for _, id := range ids {
		u, ok := c.referenced(id)
		if !ok {
			continue
		}
		group.Go(func() error {
			err := u.requestAbort(ctx)
			if err == nil {
				open.Add(1)
			} else if !isEnded(err) {
				return err
			}
			return nil
		})
	}
	err = group.Wait()
	return int(open.Load()), err
}

// referenced returns the upload of an ID in an [UploadLog]. IDs are not trusted: they must not lead to another endpoint.
func (c *Client) referenced(id string) (*upload, bool) {
	narID, uploadID, _ := strings.Cut(id, " ")
	uploadID, err := url.QueryUnescape(uploadID)
	return &upload{client: c, narID: narID, id: uploadID}, err == nil && uploadID != "" && isCacheName(narID)
}

// requestAbort asks the server to forget the upload and its parts.
// POST /cache/{name}/multipart-nar/{narId}/abort?uploadId=
func (u *upload) requestAbort(ctx context.Context) error {
	return u.client.call(ctx, apiCall{
		does: "abort upload", method: http.MethodPost, path: "/multipart-nar/" + url.PathEscape(u.narID) + "/abort",
		query: url.Values{"uploadId": {u.id}},
	})
}

// isEnded returns whether a server has refused to abort an upload because it does not know the upload.
func isEnded(err error) bool {
	refused, ok := errors.AsType[*StatusError](err)
	return ok && refused.Status/100 == 4 && !refused.isTransient() && !hasStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}
