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

// Pins returns the current store path of each pin of the cache, by name. GET /cache/{name}/pin
//
// A public cache needs no credential for it. Cachix's own client does not use this endpoint. The format of the answer is
// known from other programs, which read .lastRevision.storePath in the entry with the .name of their pin.
func (c *Client) Pins(ctx context.Context) (map[string]nix.StorePath, error) {
	var answer []struct {
		Name         string `json:"name"`
		LastRevision struct {
			StorePath string `json:"storePath"`
		} `json:"lastRevision"`
	}
	err := c.call(ctx, apiCall{does: "ask for the pins of cache " + c.name, method: http.MethodGet, path: "/pin", answer: &answer})
	if err != nil {
		return nil, c.advise(err)
	}
	pins := make(map[string]nix.StorePath, len(answer))
	for _, pin := range answer {
		path, err := nix.ParseStorePath(pin.LastRevision.StorePath)
		if err != nil {
			return nil, fmt.Errorf("ask for the pins of cache %s: pin %s: %s", c.name, c.printable(pin.Name), c.printable(err.Error()))
		}
		pins[pin.Name] = path
	}
	return pins, nil
}
