package cachix

import (
	"context"
	"fmt"
	"net/http"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Pin protects a store path and its closure from the cache's garbage collector, under a name.
// An existing pin of the same name becomes an older revision.
type Pin struct {
	Name string
	Path nix.StorePath
	// Keep is the number of revisions to keep; 0 keeps all.
	Keep int
}

// Pin creates a pin. POST /cache/{name}/pin
//
// The server may have processed an attempt that has no answer. A further attempt is harmless: it adds a revision with the
// same path.
func (c *Client) Pin(ctx context.Context, p Pin) error {
	if c.credential.token() == "" {
		return hint.Wrap(fmt.Errorf("pin %s: there is no auth token, which a pin wants also where a signing key is enough to push", p.Name),
			"set CACHIX_AUTH_TOKEN")
	}
	type keep struct {
		Tag      string `json:"tag"`
		Contents int    `json:"contents,omitempty"`
	}
	request := struct {
		Name      string   `json:"name"`
		StorePath string   `json:"storePath"`
		Artifacts []string `json:"artifacts"`
		Keep      *keep    `json:"keep"`
	}{Name: p.Name, StorePath: string(p.Path), Artifacts: []string{}}
	if p.Keep > 0 {
		request.Keep = &keep{Tag: "Revisions", Contents: p.Keep}
	}
	err := c.call(ctx, apiCall{does: fmt.Sprintf("pin %s", p.Name), method: http.MethodPost, path: "/pin", body: request})
	return c.adviseOnToken(err)
}
