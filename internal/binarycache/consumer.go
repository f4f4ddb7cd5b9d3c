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

// Consumer is a user who has a cache as a substituter, and others as well.
type Consumer struct {
	*HTTP // the cache that was pushed to
	// Keys are the public keys that the consumer trusts.
	Keys []*gonix.PublicKey
	// Upstream are the consumer's other caches.
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

// all returns a reader of all caches. It does not check signatures.
func (c *Consumer) all() *reader { return &reader{name: c.Name(), info: c.anywhere} }

// Missing returns the paths that none of the caches has, in the given order.
func (c *Consumer) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	return c.all().Missing(ctx, paths)
}

// Closure returns the metadata of the paths and of all their references, from all caches, sorted by path. A path that none
// of them has is an [ErrNotFound]. It does not check signatures: the result is used for sizes, not to fetch.
func (c *Consumer) Closure(ctx context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	return c.all().Closure(ctx, roots)
}

// anywhere returns the narinfo of a path from the first cache that has it.
func (c *Consumer) anywhere(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	info, err := c.HTTP.info(ctx, path)
	if errors.Is(err, ErrNotFound) {
		return c.upstream(ctx, path)
	}
	return info, err
}

// upstream returns the narinfo of a path from the first upstream cache that has it, or an [ErrNotFound].
func (c *Consumer) upstream(ctx context.Context, path nix.StorePath) (info *nix.NARInfo, err error) {
	err = ErrNotFound
	for _, cache := range c.Upstream {
		if !errors.Is(err, ErrNotFound) {
			break
		}
		info, err = cache.narinfo(ctx, path)
	}
	return info, err
}

// Sees returns nil if the cache serves a store object as want describes it, and in a way that Nix accepts: its narinfo is
// there, is signed by a trusted key (see the Nix manual on trusted-public-keys), and has the hash and the references of
// want; its NAR is there, in the size that the narinfo states. If want has no hash, only the path is compared.
// Sees calls fetch with the size of the NAR. If it returns true, the NAR is fetched, decompressed and hashed. A nil fetch
// means no.
//
// An object that the cache does not have may be in an upstream cache, with the references of want; it was not pushed.
// An object that is in none of them is an [ErrNotFound].
func (c *Consumer) Sees(ctx context.Context, want nix.PathInfo, fetch func(narBytes int64) bool) error {
	info, err := c.HTTP.info(ctx, want.Path)
	switch {
	case err == nil:
		err = c.accepts(ctx, info, want, fetch)
	case errors.Is(err, ErrNotFound):
		switch upstream, upstreamErr := c.upstream(ctx, want.Path); {
		case upstreamErr == nil:
			err = compareReferences(upstream, want)
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
	if !IsSigned(pathInfo(info), c.Keys) {
		trusted := make([]string, len(c.Keys))
		for i, key := range c.Keys {
			trusted[i] = key.String()
		}
		return fmt.Errorf("no key that consumers trust has signed its narinfo; they trust %s", strings.Join(trusted, " "))
	}
	if err := compareContents(info, want); err != nil {
		return err
	}
	method := http.MethodHead
	if fetch != nil && fetch(info.NARSize) {
		method = http.MethodGet
	}
	response, err := c.requestNAR(ctx, method, info)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if method == http.MethodHead {
		return nil
	}
	return nar.VerifyFile(regular.Until(ctx, response.Body), info)
}

// compareContents compares what the signature of a narinfo covers with the object.
func compareContents(info *nix.NARInfo, want nix.PathInfo) error {
	if want.NARHash.IsZero() {
		return nil
	}
	if !info.NARHash.Equal(want.NARHash) {
		return fmt.Errorf("its narinfo has the hash %s, and the object has %s", info.NARHash.SRI(), want.NARHash.SRI())
	}
	if info.NARSize != want.NARSize {
		return fmt.Errorf("its narinfo has the size %d, and the object has %d", info.NARSize, want.NARSize)
	}
	return compareReferences(info, want)
}

func compareReferences(info *nix.NARInfo, want nix.PathInfo) error {
	served, wanted := nix.SortedPaths(info.References), nix.SortedPaths(want.References)
	if want.NARHash.IsZero() || slices.Equal(served, wanted) {
		return nil
	}
	return fmt.Errorf("its narinfo has the references %v, and the object has %v", served, wanted)
}

// Signed is a cache without the objects that no trusted key has signed: Nix would not accept them.
type Signed struct {
	Cache
	Keys []*gonix.PublicKey
	// Warn is called for objects that are ignored; it may be nil.
	Warn func(text string)
}

// Missing returns the paths that the cache does not have with a trusted signature, in the given order.
func (s Signed) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	infos, err := s.Infos(ctx, paths)
	return missing(infos, paths), err
}

// Infos returns the metadata of the paths that the cache has with a trusted signature.
func (s Signed) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos, err := s.Cache.Infos(ctx, paths)
	for path, info := range infos {
		if IsSigned(info, s.Keys) {
			continue
		}
		delete(infos, path)
		if s.Warn != nil {
			s.Warn(fmt.Sprintf("%s has %s without a signature by a trusted key, so it counts as not there", s.Name(), path))
		}
	}
	return infos, err
}

// IsSigned returns whether one of the keys has signed the metadata of an object. One is enough for Nix.
func IsSigned(info nix.PathInfo, keys []*gonix.PublicKey) bool {
	signed := &nix.NARInfo{
		StorePath: info.Path, NARHash: info.NARHash, NARSize: info.NARSize, References: info.References,
	}
	for _, text := range info.Signatures {
		signature, err := gonix.ParseSignature(text)
		if err == nil && gonix.VerifyNARInfo(keys, signed, signature) == nil {
			return true
		}
	}
	return false
}
