package cachixtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// keys has the key that signs the paths of a cache, and those that verify them.
type keys struct {
	signer *gonix.PrivateKey // nil if the owner signs
	public *gonix.PublicKey
}

// keysOf derives the key of a managed cache from its name, so that a signature is the same in every run of a test.
// It is for tests only: anyone can compute it.
func keysOf(o Options) (keys, error) {
	if o.SelfSigned != "" {
		public, err := gonix.ParsePublicKey(o.SelfSigned)
		if err != nil {
			return keys{}, fmt.Errorf("parse key of self-signed cache: %v", err)
		}
		return keys{public: public}, nil
	}
	seed := sha256.Sum256([]byte("signing key of " + o.Name))
	secret := base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed[:]))
	signer, err := gonix.ParsePrivateKey(o.Name + ".cachix.org-1:" + secret)
	if err != nil {
		return keys{}, fmt.Errorf("make signing key: %v", err)
	}
	return keys{signer: signer, public: signer.PublicKey()}, nil
}

// PublicKeys returns the keys that Nix must trust, each as "name:base64".
func (s *Server) PublicKeys() []string { return []string{s.keys.public.String()} }

// sign returns the signature of a path: that of the server, or that of the client, if it is valid.
// A managed cache also accepts a signature by its own key.
func (k keys) sign(info *nix.NARInfo, cSig *string) (*gonix.Signature, error) {
	if cSig == nil && k.signer == nil {
		return nil, broken(400, "No signature found. Most likely because signing key wasn't set: see cachix generate-keypair")
	}
	if cSig == nil {
		return gonix.SignNARInfo(k.signer, info)
	}
	signature, err := gonix.ParseSignature(k.public.Name() + ":" + *cSig)
	if err == nil {
		err = gonix.VerifyNARInfo([]*gonix.PublicKey{k.public}, info, signature)
	}
	if err != nil {
		return nil, broken(400, "Signature verification failed. The signing key you're using doesn't match any of the public keys for binary cache: %v", err)
	}
	return signature, nil
}
