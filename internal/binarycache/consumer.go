package binarycache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
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

// Sees returns nil where the cache serves a store object as want has it, and in a way that Nix accepts: its narinfo is
// there, signed by a trusted key (see the Nix manual on trusted-public-keys), and has the hash and the references of
// want; its NAR is there, in the size that the narinfo says. Of a want without a hash only the path is compared.
// Fetch is asked with the size of the NAR: if it says yes, the NAR is fetched, unpacked and hashed. Nil is always no.
//
// An object that the cache does not have may be in an upstream cache, with the references of want; it was not pushed.
// One that is in none of them is an [ErrNotFound].
func (c *Consumer) Sees(ctx context.Context, want nix.PathInfo, fetch func(narBytes int64) bool) error {
	info, err := c.narinfo(ctx, want.Path)
	if err == nil {
		err = c.accepts(ctx, info, want, fetch)
	} else if errors.Is(err, ErrNotFound) {
		switch elsewhere, upstreamErr := c.upstream(ctx, want.Path); {
		case upstreamErr == nil:
			err = sameReferences(elsewhere, want)
		case !errors.Is(upstreamErr, ErrNotFound):
			err = fmt.Errorf("%w, and an upstream cache does not answer: %v", err, upstreamErr)
		}
	}
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.Name(), want.Path, err)
	}
	return nil
}

func (c *Consumer) accepts(ctx context.Context, info *nix.NARInfo, want nix.PathInfo, fetch func(int64) bool) error {
	if err := c.trusts(info); err != nil {
		return err
	}
	if err := sameContents(info, want); err != nil {
		return err
	}
	if fetch != nil && fetch(info.NARSize) {
		return c.fetches(ctx, info)
	}
	return c.fetchable(ctx, info)
}

// sameContents compares what the signature of a narinfo covers with what is known of the object.
func sameContents(info *nix.NARInfo, want nix.PathInfo) error {
	if want.NARHash.IsZero() {
		return nil
	}
	if !info.NARHash.Equal(want.NARHash) {
		return fmt.Errorf("its narinfo has the hash %s, and the object has %s", info.NARHash.SRI(), want.NARHash.SRI())
	}
	if info.NARSize != want.NARSize {
		return fmt.Errorf("its narinfo has the size %d, and the object has %d", info.NARSize, want.NARSize)
	}
	return sameReferences(info, want)
}

func sameReferences(info *nix.NARInfo, want nix.PathInfo) error {
	theirs, ours := nix.SortedPaths(info.References), nix.SortedPaths(want.References)
	if want.NARHash.IsZero() || slices.Equal(theirs, ours) {
		return nil
	}
	return fmt.Errorf("its narinfo has the references %v, and the object has %v", theirs, ours)
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

// nar asks for the NAR of a narinfo, whose length the answer may state.
func (c *Consumer) nar(ctx context.Context, method string, info *nix.NARInfo) (*http.Response, error) {
	response, err := c.get(ctx, method, info.URL)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("its narinfo is there, but its NAR %s is not", info.URL)
	}
	if err != nil {
		return nil, err
	}
	if n := response.ContentLength; n >= 0 && info.FileSize > 0 && n != info.FileSize {
		response.Body.Close()
		return nil, fmt.Errorf("its NAR %s has %d bytes, and its narinfo says %d", info.URL, n, info.FileSize)
	}
	return response, nil
}

func (c *Consumer) fetchable(ctx context.Context, info *nix.NARInfo) error {
	response, err := c.nar(ctx, http.MethodHead, info)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// fetches reads the NAR to its end, no further than the narinfo says, and hashes it.
func (c *Consumer) fetches(ctx context.Context, info *nix.NARInfo) error {
	response, err := (&Consumer{HTTP: c.patient()}).nar(ctx, http.MethodGet, info)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return nar.VerifyFile(regular.Until(ctx, response.Body), info)
}
