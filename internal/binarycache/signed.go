package binarycache

import (
	"context"
	"fmt"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Signed is a cache of which only those objects count that a trusted key has signed: Nix would take no others from it.
type Signed struct {
	Cache
	Keys []*gonix.PublicKey
	// Warn is called for objects that are there and do not count; it may be nil.
	Warn func(text string)
}

// Missing returns those of the paths that the cache does not have with a trusted signature, in the order given.
func (s Signed) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	infos, err := s.Infos(ctx, paths)
	if err != nil {
		return nil, err
	}
	var missing []nix.StorePath
	for _, path := range paths {
		if _, ok := infos[path]; !ok {
			missing = append(missing, path)
		}
	}
	return missing, nil
}

// Infos returns what the cache says of those of the paths that it has with a trusted signature.
func (s Signed) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos, err := s.Cache.Infos(ctx, paths)
	if err != nil {
		return nil, err
	}
	for path, info := range infos {
		if IsSigned(info, s.Keys) {
			continue
		}
		delete(infos, path)
		if s.Warn != nil {
			s.Warn(fmt.Sprintf("%s has %s without a signature by a trusted key, so it counts as not there", s.Name(), path))
		}
	}
	return infos, nil
}

// IsSigned says whether one of the keys has signed what is known of an object.
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
