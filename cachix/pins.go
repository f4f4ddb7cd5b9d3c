package cachix

import (
	"context"
	"fmt"
	"net/http"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

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
			return nil, fmt.Errorf("ask for the pins of cache %s: pin %s: %s", c.name, c.said(pin.Name), c.said(err.Error()))
		}
		pins[pin.Name] = path
	}
	return pins, nil
}
