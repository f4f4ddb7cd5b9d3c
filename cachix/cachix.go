// Package cachix asks Cachix about a binary cache. So far that is what a cache says of itself; pushing is to come.
package cachix

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// API is the base of the endpoints that Cachix serves.
const API = "https://cachix.org/api/v1"

// Client asks about one cache. The zero values of URL and HTTP are Cachix itself and a client that gives up in time.
type Client struct {
	Name string // of the cache, such as "scopecreep-zip"
	URL  string
	HTTP *http.Client
}

// NameOf returns the name of the cache whose public side is at the URL, such as https://scopecreep-zip.cachix.org,
// and false for one that is not of Cachix.
func NameOf(public string) (string, bool) {
	u, err := url.Parse(public)
	if err != nil || u.Scheme != "https" {
		return "", false
	}
	name, ok := strings.CutSuffix(u.Hostname(), ".cachix.org")
	return name, ok && name != "" && !strings.Contains(name, ".")
}

const (
	// patience is for an answer of some hundred bytes.
	patience = 10 * time.Second
	// maxInfo bounds what is read of it: a page of HTML from a proxy is no reason to read on.
	maxInfo = 1 << 20
)

// PublicKeys returns the keys that the cache signs with, each in the form "name:base64".
// GET /cache/{name}; without a token, so that a private cache is not found.
func (c *Client) PublicKeys(ctx context.Context) ([]string, error) {
	keys, err := c.publicKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask Cachix for keys of cache %s: %v", c.Name, err)
	}
	return keys, nil
}

func (c *Client) publicKeys(ctx context.Context) ([]string, error) {
	base, client := c.URL, c.HTTP
	if base == "" {
		base = API
	}
	if client == nil {
		client = &http.Client{Timeout: patience}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/cache/"+url.PathEscape(c.Name), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", answer.Status)
	}
	var info struct {
		PublicSigningKeys []string `json:"publicSigningKeys"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxInfo)).Decode(&info); err != nil {
		return nil, fmt.Errorf("read answer: %v", err)
	}
	return info.PublicSigningKeys, nil
}
