package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Consumer sees binary caches as somebody does who has them as substituters.
type Consumer struct {
	*HTTP // the cache that was pushed to
	// Keys are the public keys that the consumer trusts.
	Keys []*gonix.PublicKey
	// Upstream are the caches that he has as well.
	Upstream []Cache
}

// ParsePublicKeys parses keys in the form "name:base64".
func ParsePublicKeys(texts []string) ([]*gonix.PublicKey, error) {
	var keys []*gonix.PublicKey
	for _, text := range texts {
		key, err := gonix.ParsePublicKey(text)
		if err != nil {
			return nil, fmt.Errorf("parse public key %q: %v", text, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Missing returns those of the paths that none of the caches serves.
func (c *Consumer) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	missing, err := c.HTTP.Missing(ctx, paths)
	for _, upstream := range c.Upstream {
		if err != nil || len(missing) == 0 {
			break
		}
		missing, err = upstream.Missing(ctx, missing)
	}
	return missing, err
}

// Sees returns nil where the cache serves a store object in a way that Nix accepts: its narinfo is there and signed by
// a trusted key (see the Nix manual on trusted-public-keys), and its NAR is there, in the size that the narinfo says.
// An object that the cache does not have is an [ErrNotFound].
func (c *Consumer) Sees(ctx context.Context, path nix.StorePath) error {
	info, err := c.narinfo(ctx, path)
	if err == nil {
		err = c.trusts(info)
	}
	if err == nil {
		err = c.fetchable(ctx, info)
	}
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.Name(), path, err)
	}
	return nil
}

func (c *Consumer) narinfo(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	response, err := c.get(ctx, http.MethodGet, infoName(path))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxNARInfo))
	if err != nil {
		return nil, cause(err)
	}
	info, err := nix.ParseNARInfo(data)
	if err != nil {
		return nil, err
	}
	if info.StorePath != path {
		return nil, fmt.Errorf("its narinfo is that of %s", info.StorePath)
	}
	return info, nil
}

// trusts looks for one signature that holds; one is enough for Nix.
func (c *Consumer) trusts(info *nix.NARInfo) error {
	for _, signature := range info.Sig {
		if gonix.VerifyNARInfo(c.Keys, info, signature) == nil {
			return nil
		}
	}
	trusted := make([]string, len(c.Keys))
	for i, key := range c.Keys {
		trusted[i] = key.String()
	}
	return fmt.Errorf("no key that consumers trust has signed its narinfo; they trust %s", strings.Join(trusted, " "))
}

func (c *Consumer) fetchable(ctx context.Context, info *nix.NARInfo) error {
	response, err := c.get(ctx, http.MethodHead, info.URL)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("its narinfo is there, but its NAR %s is not", info.URL)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if n := response.ContentLength; n >= 0 && info.FileSize > 0 && n != info.FileSize {
		return fmt.Errorf("its NAR %s has %d bytes, and its narinfo says %d", info.URL, n, info.FileSize)
	}
	return nil
}

// get asks for a file of the cache. Its name comes from the cache, and may lead elsewhere only in the ways that a URL can.
func (c *Consumer) get(ctx context.Context, method, name string) (*http.Response, error) {
	relative, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("parse %q: not a URL", name)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.URL.JoinPath("/").ResolveReference(relative).String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := c.Client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, cause(err)
	}
	switch {
	case response.StatusCode == http.StatusOK:
		return response, nil
	case response.StatusCode == http.StatusNotFound, response.StatusCode == http.StatusForbidden:
		err = ErrNotFound
	default:
		err = fmt.Errorf("the answer is %s", response.Status)
	}
	response.Body.Close()
	return nil, err
}
