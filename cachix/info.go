package cachix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// Info is the description of a cache.
type Info struct {
	Name string
	// URI is the URL that users have as a substituter.
	URI    string
	Public bool
	// Keys are the public signing keys of the cache, each in the form "name:base64".
	Keys []string
	// Permission is the right of the credential: "Read", "Write" or "Admin".
	Permission string
	// Compression is the preference of the cache's owner.
	Compression nar.Compression
}

// Info queries the description of the cache. GET /cache/{name}
func (c *Client) Info(ctx context.Context) (Info, error) {
	var answer struct {
		Name              string   `json:"name"`
		URI               string   `json:"uri"`
		IsPublic          bool     `json:"isPublic"`
		PublicSigningKeys []string `json:"publicSigningKeys"`
		Permission        string   `json:"permission"`
		Preferred         string   `json:"preferredCompressionMethod"`
	}
	err := c.call(ctx, apiCall{does: "ask for cache " + c.name, method: http.MethodGet, answer: &answer})
	if err != nil {
		return Info{}, c.advise(err)
	}
	if answer.Name == "" || answer.URI == "" {
		return Info{}, fmt.Errorf("ask for cache %s: the answer does not describe a cache", c.name)
	}
	info := Info{
		Name: answer.Name, URI: answer.URI, Public: answer.IsPublic, Keys: answer.PublicSigningKeys,
		Permission: answer.Permission, Compression: nar.Zstd,
	}
	if answer.Preferred == "XZ" {
		info.Compression = nar.XZ
	}
	return info, nil
}

// PublicKeys returns the public signing keys of the cache, each in the form "name:base64".
func (c *Client) PublicKeys(ctx context.Context) ([]string, error) {
	info, err := c.Info(ctx)
	return info.Keys, err
}

// Check returns an error if the credential does not allow a push to the cache.
// The error names the cause: the token, its permission, or the signing key.
func (c *Client) Check(ctx context.Context) (Info, error) {
	if c.credential.IsZero() {
		return Info{}, errors.New("check right to push: no secret is given")
	}
	info, err := c.Info(ctx)
	if err != nil {
		return info, err
	}
	if c.credential.token() != "" && info.Permission == "Read" {
		return info, hint.Wrap(fmt.Errorf("check right to push to %s: the auth token may only read it", c.name),
			"make a token with write access: https://app.cachix.org/cache/%s#authtokens", c.name)
	}
	if c.credential.key() == nil {
		return info, nil
	}
	for _, public := range info.Keys {
		if c.credential.hasPublicHalf(public) {
			return info, nil
		}
	}
	return info, hint.Wrap(fmt.Errorf("check right to push to %s: the signing key is none of the cache's, which are: %s",
		c.name, c.printable(strings.Join(info.Keys, " "))),
		"take the secret half of one of these keys, or an auth token alone where Cachix signs for the cache")
}

// advise adds a hint to the error of a request that the cache has refused.
func (c *Client) advise(err error) error {
	switch {
	case hasStatus(err, http.StatusNotFound):
		return hint.Wrap(err, "there is no cache %s at %s: look at its name", c.name, c.base)
	case hasStatus(err, http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect):
		return hint.Wrap(err, "%s is not the API itself: give the URL that it redirects to", c.base)
	}
	return c.adviseOnToken(err)
}

// adviseOnToken adds a hint to the error of a token that is not accepted.
func (c *Client) adviseOnToken(err error) error {
	status, _ := errors.AsType[*StatusError](err)
	switch {
	case !hasStatus(err, http.StatusUnauthorized, http.StatusForbidden):
		return err
	case strings.Contains(status.Message, "expired"):
		return hint.Wrap(err, "the auth token has expired: make another at https://app.cachix.org/personal-auth-tokens, or for this cache alone in its settings")
	case c.credential.IsZero():
		return hint.Wrap(err, "there is no cache %s, or it is private", c.name)
	case c.credential.token() == "":
		return hint.Wrap(err, "cache %s is private, or wants an auth token beside a signing key: set CACHIX_AUTH_TOKEN", c.name)
	}
	return hint.Wrap(fmt.Errorf("the auth token is not accepted: %w", err),
		"make a token with write access: https://app.cachix.org/cache/%[1]s#authtokens; the answer is the same if there is no cache %[1]s", c.name)
}
