package cachixtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	gonix "zombiezen.com/go/nix"
)

// testKey is the key of an owner who signs.
func testKey(t testing.TB) *gonix.PrivateKey {
	t.Helper()
	key, err := gonix.ParsePrivateKey("owner-1:" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(make([]byte, 32))))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signer signs like a client of Cachix: without the name of the key.
func signer(t testing.TB, key *gonix.PrivateKey) func(*gonix.NARInfo) string {
	return func(info *gonix.NARInfo) string {
		signature, err := gonix.SignNARInfo(key, info)
		if err != nil {
			t.Fatal(err)
		}
		_, bare, _ := strings.Cut(signature.String(), ":")
		return bare
	}
}

func TestSignatures(t *testing.T) {
	owner := testKey(t)
	managed := start(t, Options{}).s.keys.signer
	for name, test := range map[string]struct {
		selfSigned bool
		signer     *gonix.PrivateKey
		text       string
	}{
		"managed":                        {false, nil, ""},
		"managed, by its key":            {false, managed, ""},
		"managed, by another":            {false, owner, "Signature verification failed."},
		"self-signed":                    {true, owner, ""},
		"self-signed, by another":        {true, managed, "Signature verification failed."},
		"self-signed, with no signature": {true, nil, "No signature found."},
	} {
		t.Run(name, func(t *testing.T) {
			options := Options{}
			if test.selfSigned {
				options.SelfSigned = owner.PublicKey().String()
			}
			c, o := start(t, options), newObjectNamed("a")
			if test.signer != nil {
				o.sign = signer(t, test.signer)
			}
			packed := zst(t, o.nar)
			u, b := c.upload(o, "zst", packed, len(packed))
			a := c.mustSend(c.request("POST", u.path("/complete"), b.String()))
			if (a.status == 200) != (test.text == "") || !strings.Contains(a.body, test.text) {
				t.Fatalf("status %d, want %q: %s", a.status, test.text, a.body)
			}
			if test.text != "" {
				return
			}
			text, _ := c.s.NARInfo(o.hash())
			var info gonix.NARInfo
			if err := info.UnmarshalText([]byte(strings.Replace(text, "Deriver: unknown-deriver\n", "", 1))); err != nil {
				t.Fatal(err)
			}
			public, err := gonix.ParsePublicKey(c.s.PublicKeys()[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := gonix.VerifyNARInfo([]*gonix.PublicKey{public}, &info, info.Sig[0]); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPushesWithoutToken(t *testing.T) {
	owner := testKey(t)
	c, o := start(t, Options{SelfSigned: owner.PublicKey().String(), NoToken: true}), newObjectNamed("a")
	c.token = ""
	o.sign = signer(t, owner)
	c.push(o)
	c.noProblems()
}
