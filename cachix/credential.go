package cachix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	gonix "zombiezen.com/go/nix"
)

// Credential is the right to push: an auth token, a signing key, or both.
// It never prints itself: with every verb of fmt, in JSON and in a log it is the word [Hidden].
// The zero value is no right at all.
type Credential struct {
	// open returns the secret; nil for none. It is a function since package fmt prints the fields of others,
	// whatever methods they have: by some verbs, and behind a pointer in a field that is not exported.
	open func() secret
}

// secret is what a credential hides. It must not be kept in anything that could be printed.
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

// Hidden is what stands for a secret wherever it would be shown.
const Hidden = "(hidden)"

// ParseCredential takes a secret for what its form says. 64 bytes in base64, bare or with "name:" before them,
// are an ed25519 signing key, as cachix generate-keypair makes it; anything else without a colon is an auth token.
// Space around the secret is ignored; an empty one is the zero value. No error has a part of the secret in it.
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
	if named { // no token has a colon in it, and a key that was damaged must not be sent as one
		return Credential{}, errors.New("parse secret: it has the form name:key, and the key is not 64 bytes in base64")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Credential{}, errors.New("parse auth token: it has white space or control characters inside")
	}
	return hide(secret{token: text}), nil
}

// Join returns a credential with what either has; where both have the same, c's counts.
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

// IsZero says that there is no right to push.
func (c Credential) IsZero() bool { return c.token() == "" && c.key() == nil }

// Kind says in words what it is, for a person to read.
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

// sign returns the bare base64 of the signature of a store object, which has no name of a key in it.
// The fingerprint that is signed is the narinfo's; see the Nix manual on signatures.
func (c Credential) sign(info *gonix.NARInfo) (string, error) {
	var fingerprint bytes.Buffer
	if err := info.WriteFingerprint(&fingerprint); err != nil {
		return "", fmt.Errorf("sign %s: %v", info.StorePath, err)
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(c.key(), fingerprint.Bytes())), nil
}

// hasPublicHalf says whether a public key in the form "name:base64" is the other half of the signing key.
func (c Credential) hasPublicHalf(public string) bool {
	_, encoded, _ := strings.Cut(public, ":")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && bytes.Equal(raw, c.key().Public().(ed25519.PublicKey))
}

// redact takes the token out of a text that came from elsewhere, such as a server's answer, in each form that a server,
// a proxy or a debugging page may repeat it in.
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

// leastEncoded is the length of the shortest token whose encodings are looked for: those of a shorter one could match
// ordinary words.
const leastEncoded = 8

// encodings returns patterns of a token in hexadecimal, with characters escaped as in URLs, JSON or source code, and in
// base64 of either alphabet, also as a part of something longer.
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
	for before := range 3 { // bytes in front of the token, which shift its base64
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), token...))
		encoded = strings.TrimRight(encoded, "=")
		// The first characters depend on what is in front, the last one on what follows.
		encoded = encoded[(before*8+5)/6 : len(encoded)-1]
		pattern := strings.NewReplacer(`+`, `[+-]`, `/`, `[/_]`).Replace(encoded)
		forms = append(forms, regexp.MustCompile(`[A-Za-z0-9+/_-]*`+pattern+`[A-Za-z0-9+/_-]*=*`))
	}
	return forms
}

// Format makes no exception for any verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Hidden)) }

// MarshalText is what encoders of JSON and the like use.
func (c Credential) MarshalText() ([]byte, error) { return []byte(Hidden), nil }

// LogValue is what structured logs use.
func (c Credential) LogValue() slog.Value { return slog.StringValue(Hidden) }
