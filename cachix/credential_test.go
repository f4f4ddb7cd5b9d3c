package cachix

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
)

// The kind of a secret is detected by its form.
func TestParseCredential(t *testing.T) {
	key, _ := newKey(t, 1)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(raw)
	broken[40] ^= 1
	for name, test := range map[string]struct{ secret, kind, err string }{
		"nothing":           {"", "no secret", ""},
		"space":             {" \n", "no secret", ""},
		"key":               {key, "a signing key", ""},
		"key in space":      {"\n" + key + "\n", "a signing key", ""},
		"named key":         {"scopecreep-zip.cachix.org-1:" + key, "a signing key", ""},
		"token":             {"eyJhbGciOiJIUzI1NiJ9.eyJkYXRhIjoxfQ.c2lnbmF0dXJl", "an auth token", ""},
		"32 bytes":          {base64.StdEncoding.EncodeToString(raw[:32]), "an auth token", ""},
		"damaged key":       {base64.StdEncoding.EncodeToString(broken), "", "its public half is not that of its secret half"},
		"damaged named key": {"name:" + key[:60], "", "the key is not 64 bytes in base64"},
		"two lines":         {"token\ntoken", "", "white space"},
		"Unicode":           {"tökèn", "", "white space or control characters"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseCredential(test.secret)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				for i := range len(test.secret) - 8 {
					if strings.Contains(err.Error(), test.secret[i:i+8]) {
						t.Errorf("the error has a part of the secret in it: %v", err)
					}
				}
				return
			}
			if err != nil || c.Kind() != test.kind || c.IsZero() != (test.kind == "no secret") {
				t.Errorf("%s, error %v, want %s", c.Kind(), err, test.kind)
			}
		})
	}
}

func TestJoin(t *testing.T) {
	key, _ := newKey(t, 1)
	other, _ := newKey(t, 2)
	signing, _ := ParseCredential(key)
	both := signing.Join(hide(secret{token: "t"})).Join(hide(secret{token: "u"}))
	second, _ := ParseCredential(other)
	both = both.Join(second)
	if both.Kind() != "an auth token and a signing key" || both.token() != "t" || base64.StdEncoding.EncodeToString(both.key()) != key {
		t.Errorf("%s, token %q: the first secret has to stay", both.Kind(), both.token())
	}
}

// No way of printing shows a secret or an encoding of it.
func TestCredentialHidesItself(t *testing.T) {
	key, _ := newKey(t, 1)
	const token = "a-token-with/some+bytes=="
	signing, err := ParseCredential(key)
	if err != nil {
		t.Fatal(err)
	}
	c := signing.Join(hide(secret{token: token}))
	holder := struct {
		Public  Credential
		private *Credential
	}{c, &c}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%t", "%p"} {
		fmt.Fprintf(&shown, verb+"\n", c)
		fmt.Fprintf(&shown, verb+"\n", &c)
		fmt.Fprintf(&shown, verb+"\n", holder)
	}
	_ = json.NewEncoder(&shown).Encode(map[string]any{"c": c, "p": &c, "h": holder})
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "c", c, "p", &c)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "c", c, "p", &c)
	fmt.Fprintf(&shown, "%+v %#v", Options{Credential: c}, Options{Credential: c})
	for _, secret := range []string{token, key} {
		forms := map[string]string{
			"plain": secret, "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "hex": hex.EncodeToString([]byte(secret)),
			"HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))), "URL": url.QueryEscape(secret),
			"bytes": fmt.Sprint([]byte(secret)[:8]), "beginning": secret[:12],
		}
		for form, text := range forms {
			if strings.Contains(shown.String(), strings.Trim(text, "[]")) {
				t.Errorf("it is shown as %s:\n%s", form, shown.String())
			}
		}
	}
}

func FuzzParseCredential(f *testing.F) {
	key, _ := newKey(f, 1)
	f.Add(key)
	f.Add("name:" + key)
	f.Add("eyJh.token")
	f.Add(":")
	f.Add("a:b:c")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCredential(text)
		trimmed := strings.TrimSpace(text)
		if err != nil {
			if len(trimmed) > 12 && strings.Contains(err.Error(), trimmed) {
				t.Errorf("the error has the secret in it: %v", err)
			}
			return
		}
		if c.IsZero() != (trimmed == "") {
			t.Errorf("%q is %s", text, c.Kind())
		}
		if c.token() != "" && c.token() != trimmed || c.token() != "" && c.key() != nil {
			t.Errorf("%q became another token", text)
		}
	})
}

// A server, a proxy or a debugging page may contain the token in other encodings.
func TestRedact(t *testing.T) {
	const token = "eyJhbGciOi+/=.a-token_of?someone"
	c := hide(secret{token: token})
	b64 := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"plain":             token,
		"base64":            b64([]byte(token)),
		"URL's base64":      base64.URLEncoding.EncodeToString([]byte(token)),
		"raw base64":        base64.RawStdEncoding.EncodeToString([]byte(token)),
		"base64 of a line":  b64([]byte("Authorization: Bearer " + token + "\r\n")),
		"base64, shifted":   b64([]byte("Bearer: " + token + ";")),
		"base64, once more": b64([]byte("u:" + token)),
		"hex":               hex.EncodeToString([]byte(token)),
		"upper-case hex":    strings.ToUpper(hex.EncodeToString([]byte(token))),
		"hex dump":          fmt.Sprintf("% x", token),
		"query":             url.QueryEscape(token),
		"path":              url.PathEscape(token),
		"all escaped":       "%" + strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% X", token), " ", "%"), "%"),
		"JSON":              strings.ReplaceAll(token, "+", "\\u002b"),
	} {
		t.Run(name, func(t *testing.T) {
			got := c.redact("before " + text + " after")
			if got != "before "+Hidden+" after" {
				t.Errorf("got %q", got)
			}
		})
	}
	for _, text := range []string{"status 401 Unauthorized", "", strings.Repeat("a", 1<<16)} {
		if got := c.redact(text); got != text {
			t.Errorf("%.40q became %.40q", text, got)
		}
	}
}
