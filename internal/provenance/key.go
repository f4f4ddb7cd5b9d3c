package provenance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

type SecretKey struct {
	name string
	key  ed25519.PrivateKey
}

// ParseSecretKey parses "name:base64", as nix-store --generate-binary-cache-key writes it into its second file.
// No error has a part of the key.
func ParseSecretKey(text []byte) (*SecretKey, error) {
	name, data, err := parseKey(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("parse secret key: %v", err)
	}
	if len(data) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("parse secret key %s: %d bytes, want %d", name, len(data), ed25519.PrivateKeySize)
	}
	key := ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
	if !bytes.Equal(key, data) { // a signature with another public half would reveal the secret half
		return nil, fmt.Errorf("parse secret key %s: its two halves do not belong together", name)
	}
	return &SecretKey{name, key}, nil
}

// Format prints the name, whatever the verb: a message must not reveal the key.
func (k SecretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.name) }

func (k *SecretKey) Public() *PublicKey {
	return &PublicKey{k.name, k.key.Public().(ed25519.PublicKey)}
}

type PublicKey struct {
	name string
	key  ed25519.PublicKey
}

// ParsePublicKey parses "name:base64", as in trusted-public-keys of nix.conf.
func ParsePublicKey(text string) (*PublicKey, error) {
	name, data, err := parseKey(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("parse public key: %v", err), "give it as nix.conf has it: NAME:BASE64")
	}
	if len(data) == ed25519.PrivateKeySize {
		return nil, hint.Wrap(fmt.Errorf("parse public key %s: it is a secret one", name),
			"give the public one, which nix key convert-secret-to-public prints; a secret on a command line is no secret any more")
	}
	if len(data) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("parse public key %s: %d bytes, want %d", name, len(data), ed25519.PublicKeySize)
	}
	return &PublicKey{name, data}, nil
}

func (k *PublicKey) Name() string { return k.name }

// String returns the key as Nix writes it.
func (k *PublicKey) String() string { return k.name + ":" + base64.StdEncoding.EncodeToString(k.key) }

func parseKey(text string) (name string, data []byte, err error) {
	name, encoded, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t\r\n") {
		return "", nil, errors.New("not of the form NAME:BASE64")
	}
	if data, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
		return "", nil, fmt.Errorf("key %s: not base64", name)
	}
	return name, data, nil
}

// signer signs for package dsse.
type signer struct{ *SecretKey }

func (s signer) KeyID() (string, error) { return s.name, nil }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(s.key, data), nil
}

// verifier verifies for package dsse. It does not try signatures under other names.
type verifier struct{ *PublicKey }

func (v verifier) KeyID() (string, error)   { return v.name, nil }
func (v verifier) Public() crypto.PublicKey { return v.key }

func (v verifier) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(v.key, data, sig) {
		return errors.New("not signed by this key")
	}
	return nil
}
