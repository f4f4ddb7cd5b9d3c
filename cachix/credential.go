package cachix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gonix "zombiezen.com/go/nix"
)

// Credential is the right to push: an auth token, a signing key, or both.
// It never prints its secret: package fmt, JSON and logs show the word [Hidden].
// The zero value has no rights.
type Credential struct {
	// open returns the secret; it is nil if there is none. It is a function, because in some cases package fmt ignores
	// methods and prints fields: for some verbs, and for a pointer in an unexported field.
	open func() secret
}

// secret is the content of a credential. It must not be stored in a value that could be printed.
type secret struct {
	token string
	key   ed25519.PrivateKey // nil where the cache signs
}

// hide makes a credential of a secret.
func hide(s secret) Credential { return Credential{open: func() secret { return s }} }

func (c Credential) token() string { return c.secret().token }

func (c Credential) key() ed25519.PrivateKey { return c.secret().key }

func (c Credential) secret() secret {
	if c.open == nil {
		return secret{}
	}
	return c.open()
}

// Hidden is shown in place of a secret.
const Hidden = "(hidden)"

// ParseCredential detects the kind of a secret by its form. 64 bytes in base64, with or without "name:" before them,
// are an ed25519 signing key, as cachix generate-keypair makes it. Any other text without a colon is an auth token.
// Surrounding space is ignored. An empty secret is the zero value. Errors contain no part of the secret.
func ParseCredential(text string) (Credential, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Credential{}, nil
	}
	_, encoded, named := strings.Cut(text, ":")
	if !named {
		encoded = text
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil && len(raw) == ed25519.PrivateKeySize {
		key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if !bytes.Equal(key, raw) {
			return Credential{}, errors.New("parse signing key: its public half is not that of its secret half")
		}
		return hide(secret{key: key}), nil
	}
	if named { // tokens contain no colon, and a damaged key must not be sent as a token
		return Credential{}, errors.New("parse secret: it has the form name:key, and the key is not 64 bytes in base64")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Credential{}, errors.New("parse auth token: it has white space or control characters inside")
	}
	return hide(secret{token: text}), nil
}

// Join returns a credential with the secrets of both. If both have a secret of the same kind, it uses that of c.
func (c Credential) Join(other Credential) Credential {
	joined := c.secret()
	if joined.token == "" {
		joined.token = other.token()
	}
	if joined.key == nil {
		joined.key = other.key()
	}
	return hide(joined)
}

// IsZero returns whether there is no right to push.
func (c Credential) IsZero() bool { return c.token() == "" && c.key() == nil }

// HasToken returns whether there is an auth token.
func (c Credential) HasToken() bool { return c.token() != "" }

// Kind describes the credential.
func (c Credential) Kind() string {
	switch {
	case c.IsZero():
		return "no secret"
	case c.key() == nil:
		return "an auth token"
	case c.token() == "":
		return "a signing key"
	}
	return "an auth token and a signing key"
}

// sign returns the signature of a store object in base64, without the name of the key.
// It signs the fingerprint of the narinfo; see the Nix manual on signatures.
func (c Credential) sign(info *gonix.NARInfo) (string, error) {
	var fingerprint bytes.Buffer
	if err := info.WriteFingerprint(&fingerprint); err != nil {
		return "", fmt.Errorf("sign %s: %v", info.StorePath, err)
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(c.key(), fingerprint.Bytes())), nil
}

// hasPublicHalf returns whether a public key in the form "name:base64" belongs to the signing key.
func (c Credential) hasPublicHalf(public string) bool {
	_, encoded, _ := strings.Cut(public, ":")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && bytes.Equal(raw, c.key().Public().(ed25519.PublicKey))
}

// redact removes the token from a text such as the answer of a server. It also removes encodings of the token that
// servers, proxies and debugging pages use.
func (c Credential) redact(text string) string {
	token := c.token()
	if token == "" {
		return text
	}
	text = strings.ReplaceAll(text, token, Hidden)
	if len(token) < leastEncoded {
		return text
	}
	for _, form := range encodings(token) {
		text = form.ReplaceAllString(text, Hidden)
	}
	return text
}

// leastEncoded is the minimum length of a token whose encodings are removed: encodings of shorter tokens could match
// ordinary words.
const leastEncoded = 8

// encodings returns patterns of a token in hexadecimal, with characters escaped as in URLs, JSON or source code, and in
// both alphabets of base64, also as part of a longer text.
func encodings(token string) []*regexp.Regexp {
	var digits, written strings.Builder
	for i := range len(token) {
		if i > 0 {
			digits.WriteString(`[ :]?`)
		}
		fmt.Fprintf(&digits, `%02x`, token[i])
		fmt.Fprintf(&written, `(?:%s|%%(?i:%02x)|\\u(?i:%04x)|\\x(?i:%02x))`, regexp.QuoteMeta(token[i:i+1]), token[i], token[i], token[i])
	}
	forms := []*regexp.Regexp{
		regexp.MustCompile(`(?i)` + digits.String()),
		regexp.MustCompile(written.String()),
	}
	for before := range 3 { // bytes before the token, which shift its base64
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), token...))
		encoded = strings.TrimRight(encoded, "=")
		// The first characters depend on the bytes before the token, the last one on the bytes after it.
		encoded = encoded[(before*8+5)/6 : len(encoded)-1]
		pattern := strings.NewReplacer(`+`, `[+-]`, `/`, `[/_]`).Replace(encoded)
		forms = append(forms, regexp.MustCompile(`[A-Za-z0-9+/_-]*`+pattern+`[A-Za-z0-9+/_-]*=*`))
	}
	return forms
}

// Format prints [Hidden] for all verbs.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Hidden)) }

// MarshalText is used by encoders such as those of packages json and slog.
func (c Credential) MarshalText() ([]byte, error) { return []byte(Hidden), nil }
