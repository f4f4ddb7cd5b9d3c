package cachix

import (
	"context"
	"fmt"
	"net/http"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Pins returns what the pins of the cache name at present, by their names. GET /cache/{name}/pin
//
// A public cache tells anybody. Cachix's own client never asks; what is answered is known from programs of others,
// which read the field .lastRevision.storePath of the entry with their pin's .name.
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
