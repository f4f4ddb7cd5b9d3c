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

// UploadLog learns of the uploads of a push, so that another process can abort those of a push that was killed.
// It is safe for concurrent use.
type UploadLog interface {
	// Begun is called when an upload has begun. ID is one line of text, which [Client.AbortUploads] understands.
	Begun(id string)
	// Ended is called when that upload is complete or aborted.
	Ended(id string)
}

// noUploadLog keeps nothing.
type noUploadLog struct{}

func (noUploadLog) Begun(string) {}
func (noUploadLog) Ended(string) {}

// Destination names the cache and the server that it is on: an upload is known there and nowhere else.
func (c *Client) Destination() string { return c.base + "/cache/" + c.name }

// reference is the upload as an [UploadLog] has it.
func (u *upload) reference() string { return url.PathEscape(u.narID) + " " + url.QueryEscape(u.id) }

// AbortUploads aborts uploads of this cache that another process has begun, and returns how many were open.
// One that the server does not know any more has ended, and so has one whose ID has no meaning.
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
			err := u.takeBack(ctx)
			if err == nil {
				open.Add(1)
			} else if !isOver(err) {
				return err
			}
			return nil
		})
	}
	err = group.Wait()
	return int(open.Load()), err
}

// referenced returns the upload of an ID in an [UploadLog]. Anyone may have written it: it must not lead to another
// endpoint.
func (c *Client) referenced(id string) (*upload, bool) {
	narID, uploadID, _ := strings.Cut(id, " ")
	uploadID, err := url.QueryUnescape(uploadID)
	return &upload{client: c, narID: narID, id: uploadID}, err == nil && uploadID != "" && isCacheName(narID)
}

// takeBack asks the server to forget the upload and its parts.
// POST /cache/{name}/multipart-nar/{narId}/abort?uploadId=
func (u *upload) takeBack(ctx context.Context) error {
	return u.client.call(ctx, apiCall{
		does: "abort upload", method: http.MethodPost, path: "/multipart-nar/" + url.PathEscape(u.narID) + "/abort",
		query: url.Values{"uploadId": {u.id}},
	})
}

// isOver says whether a server has refused to abort an upload because there is none: it knows no such ID, or not any more.
func isOver(err error) bool {
	var refused *StatusError
	return errors.As(err, &refused) && refused.Status/100 == 4 &&
		refused.Status != http.StatusUnauthorized && refused.Status != http.StatusForbidden && !refused.passing()
}
