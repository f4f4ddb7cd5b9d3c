package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxQuery is the maximum number of digests in a query; the server accepts bodies of about 1 MB.
const maxQuery = 32768

// Missing returns the paths that have to be pushed, in the given order, without duplicates.
// Paths in an upstream cache of this cache are not missing.
// POST /cache/{name}/narinfo
//
// A query must not contain duplicates: the server always reports the second one as missing.
func (c *Client) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	asked := make(map[string]bool, len(paths)) // digest → whether it is missing
	digests := make([]string, 0, len(paths))
	for _, p := range paths {
		if _, again := asked[p.Digest()]; !again {
			asked[p.Digest()] = false
			digests = append(digests, p.Digest())
		}
	}
	for batch := range slices.Chunk(digests, maxQuery) {
		var missing []string
		err := c.call(ctx, apiCall{
			does: "ask for missing paths", method: http.MethodPost, path: "/narinfo", body: batch, answer: &missing,
		})
		if err != nil {
			return nil, c.advise(err)
		}
		if missing == nil { // null: this does not mean that no path is missing
			return nil, errors.New("ask for missing paths: the answer is not a list")
		}
		for _, digest := range missing {
			if _, ours := asked[digest]; !ours {
				return nil, fmt.Errorf("ask for missing paths: the answer has %q, which was not asked for", c.printable(digest))
			}
			asked[digest] = true
		}
	}
	var missing []nix.StorePath
	for _, p := range paths {
		if asked[p.Digest()] {
			asked[p.Digest()] = false
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// Has returns whether the cache has an object with this digest. HEAD /cache/{name}/{digest}.narinfo
func (c *Client) Has(ctx context.Context, digest string) (bool, error) {
	err := c.call(ctx, apiCall{does: "ask for a narinfo", method: http.MethodHead, path: "/" + digest + ".narinfo"})
	if hasStatus(err, http.StatusNotFound) {
		return false, nil
	}
	return err == nil, err
}
