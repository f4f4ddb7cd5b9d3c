package provenance

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// testKey makes a key from a fixed seed.
func testKey(t *testing.T, name string, seed byte) *SecretKey {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	k, err := ParseSecretKey([]byte(name + ":" + base64.StdEncoding.EncodeToString(key) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testLine is the statement of the recorded manifest, without an envelope.
func testLine(t *testing.T) []byte {
	t.Helper()
	s, err := Statement(exampleRun(t))
	if err != nil {
		t.Fatal(err)
	}
	line, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func signed(t *testing.T, line []byte, keys ...*SecretKey) []byte {
	t.Helper()
	var all dsse.Envelope
	for _, k := range keys {
		data, err := Sign(t.Context(), line, k)
		if err != nil {
			t.Fatal(err)
		}
		var e dsse.Envelope
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		e.Signatures = append(all.Signatures, e.Signatures...)
		all = e
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseOne(t *testing.T, data []byte) *Attestation {
	t.Helper()
	all, err := parseBundle(data)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d attestations, error %v", len(all), err)
	}
	return all[0]
}

func TestVerify(t *testing.T) {
	a, b, c := testKey(t, "a-1", 1), testKey(t, "b-1", 2), testKey(t, "a-1", 3)
	line := testLine(t)
	tampered := bytes.Replace(line, []byte("82407c4e"), []byte("82407c4f"), 1)
	swap := func(e []byte) []byte {
		var envelope dsse.Envelope
		if err := json.Unmarshal(e, &envelope); err != nil {
			t.Fatal(err)
		}
		envelope.Payload = base64.StdEncoding.EncodeToString(tampered)
		data, _ := json.Marshal(envelope)
		return data
	}
	for name, test := range map[string]struct {
		data []byte
		keys []*PublicKey
		want []string
		err  string
	}{
		"signed":                     {signed(t, line, a), []*PublicKey{a.Public()}, []string{"a-1"}, ""},
		"one of two keys":            {signed(t, line, a), []*PublicKey{b.Public(), a.Public()}, []string{"a-1"}, ""},
		"two signatures, one key":    {signed(t, line, a, b), []*PublicKey{b.Public()}, []string{"b-1"}, ""},
		"two signatures, two keys":   {signed(t, line, a, b), []*PublicKey{b.Public(), a.Public()}, []string{"a-1", "b-1"}, ""},
		"over several lines":         {indent(t, signed(t, line, a)), []*PublicKey{a.Public()}, []string{"a-1"}, ""},
		"another key":                {signed(t, line, a), []*PublicKey{b.Public()}, nil, `signed by "a-1", by none of the keys given`},
		"another key of that name":   {signed(t, line, a), []*PublicKey{c.Public()}, nil, "it is not of key a-1:"},
		"tampered":                   {swap(signed(t, line, a)), []*PublicKey{a.Public()}, nil, "the statement was changed"},
		"tampered, two signatures":   {swap(signed(t, line, a, b)), []*PublicKey{a.Public(), b.Public()}, nil, "the statement was changed"},
		"bare":                       {line, []*PublicKey{a.Public()}, nil, "not signed"},
		"an envelope without any":    {[]byte(strings.Replace(string(signed(t, line, a)), `"signatures":[{`, `"signatures":[],"x":[{`, 1)), []*PublicKey{a.Public()}, nil, "not signed"},
		"two keys of one name":       {signed(t, line, a), []*PublicKey{a.Public(), c.Public()}, nil, "two keys are called a-1"},
		"a signature of another":     {bytes.Replace(signed(t, line, a), []byte(`"keyid":"a-1"`), []byte(`"keyid":"b-1"`), 1), []*PublicKey{a.Public(), b.Public()}, nil, "it is not of key b-1:"},
		"a signature without a name": {bytes.Replace(signed(t, line, a), []byte(`"keyid":"a-1"`), []byte(`"keyid":""`), 1), []*PublicKey{a.Public()}, []string{"a-1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseOne(t, test.data).Verify(t.Context(), test.keys)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q in it", err, test.err)
				}
				return
			}
			slices.Sort(got)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("signed by %q, error %v, want %q", got, err, test.want)
			}
		})
	}
	if _, err := parseOne(t, line).Verify(t.Context(), []*PublicKey{a.Public()}); !errors.Is(err, ErrNotSigned) {
		t.Errorf("error %v, want ErrNotSigned", err)
	}
}

func indent(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadRefuses(t *testing.T) {
	line := testLine(t)
	envelope := signed(t, line, testKey(t, "a-1", 1))
	many := `{"payloadType":"` + payloadType + `","payload":"","signatures":[` + strings.Repeat(`{},`, maxSignatures) + `{}]}`
	for name, test := range map[string]struct{ data, want string }{
		"nothing":            {"", "empty"},
		"spaces":             {"\n\n", "empty"},
		"not JSON":           {"hello", "not JSON, at byte"},
		"cut off":            {string(envelope[:len(envelope)/2]), "cut off"},
		"cut off, second":    {string(line) + "\n" + string(line[:100]), "cut off"},
		"a list":             {"[]", "attestation 1: neither an envelope nor a statement"},
		"a manifest":         {`{"version":1}`, "attestation 1: neither an envelope nor a statement"},
		"another payload":    {`{"payloadType":"text/plain","payload":"","signatures":[]}`, `attestation 1: an envelope of "text/plain"`},
		"no base64":          {`{"payloadType":"` + payloadType + `","payload":"?","signatures":[]}`, "its payload is not base64"},
		"many signatures":    {many, "101 signatures"},
		"many attestations":  {strings.Repeat(`{"_type":"x"}`, maxAttestations+1), "more than 1000 attestations"},
		"many values":        {`{"_type":"x","subject":[` + strings.Repeat(`{},`, 1<<18) + `{}]}`, "more than 262144 values"},
		"deep":               {strings.Repeat("[", 100000), "not JSON"},
		"deep, in statement": {`{"_type":` + strings.Repeat("[", 100000), "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), FileName)
			if err := os.WriteFile(file, []byte(test.data), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Read(regular.AnyFile(file))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v, want the file and %q in it", err, test.want)
			}
		})
	}
	file := filepath.Join(t.TempDir(), FileName)
	f, err := os.Create(file)
	if err == nil {
		err = errors.Join(f.Truncate(maxFile+1), f.Close()) // it takes no room
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(regular.AnyFile(file)); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error %v of a large file", err)
	}
}

func TestClaimRefuses(t *testing.T) {
	line := string(testLine(t))
	swap := func(old, with string) string {
		if !strings.Contains(line, old) {
			t.Fatalf("the statement has no %s", old)
		}
		return strings.Replace(line, old, with, 1)
	}
	subjects := line[strings.Index(line, `"subject":`):strings.Index(line, `,"predicateType"`)]
	for name, test := range map[string]struct{ line, want string }{
		"another predicate":   {swap(PredicateType, "https://spdx.dev/Document"), `its predicate is of type "https://spdx.dev/Document"`},
		"another statement":   {swap("Statement/v1", "Statement/v0.1"), "Statement/v0.1"},
		"no subjects":         {swap(subjects, `"subject":[]`), "at least one subject"},
		"a subject twice":     {swap("1hg0f0si0gd8g1byqy6jhkbqg72wgyxc-open-sesame-desktop-1.14.2", "rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2"), "is there twice"},
		"a subject's name":    {swap("rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2", "../../etc/passwd"), "not called after a store path"},
		"a path below":        {swap("rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2", "rdbr6skbj696x8mlnq7d0i02ir0cg4zv-open-sesame-1.14.2/bin"), "not called after a store path"},
		"a short digest":      {swap("82407c4e8ae9", "82"), "digest"},
		"another digest":      {swap(`"sha256":"82407c4e`, `"sha512_":"82407c4e`), "has no sha256 digest"},
		"no builder":          {swap(`"id":"`, `"i":"`), "builder.id"},
		"no build type":       {swap("buildType", "builtType"), "buildType required"},
		"subject of a type":   {swap(subjects, `"subject":"all"`), "syntax error"},
		"predicate of a type": {swap(`"buildDefinition":{`, `"buildDefinition":["x"],"y":{`), "its predicate: "},
		"deep":                {swap(`"externalParameters":{`, `"externalParameters":{"x":`+strings.Repeat(`{"x":`, 20000)+"1"+strings.Repeat("}", 20000)+","), "exceeded max"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &Attestation{raw: []byte(test.line), payload: []byte(test.line)}
			claim, err := a.Claim()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("claim %v, error %v, want %q in it", claim, err, test.want)
			}
		})
	}
}

func TestClaim(t *testing.T) {
	for name, data := range map[string][]byte{"bare": testLine(t), "signed": signed(t, testLine(t), testKey(t, "a-1", 1))} {
		claim, err := parseOne(t, data).Claim()
		if err != nil {
			t.Fatal(name, err)
		}
		m := recorded(t)
		first := m.Cells[0].Packages[0].Outputs[0]
		if len(claim.Subjects) != 4 || claim.Subjects[0].Path != first.Path || claim.Subjects[0].NARHash.SRI() != first.NARHash ||
			claim.Subjects[0].Verdict != "built" || claim.Builder != "https://github.com/scopecreep-zip/open-sesame-ci@v0.1.0" {
			t.Errorf("%s: claim %+v, want the manifest's", name, claim)
		}
	}
	// A later version may have more fields.
	line := bytes.Replace(testLine(t), []byte(`"predicateType"`), []byte(`"new":1,"predicateType"`), 1)
	if _, err := parseOne(t, line).Claim(); err != nil {
		t.Errorf("error %v of a field that is not known", err)
	}
}

func TestParseKeys(t *testing.T) {
	secret := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	encode := base64.StdEncoding.EncodeToString
	other := append(slices.Clone(secret[:32]), make([]byte, 32)...)
	for name, test := range map[string]struct{ text, want string }{
		"no name":    {":" + encode(secret), "not of the form NAME:BASE64"},
		"no colon":   {encode(secret), "not of the form NAME:BASE64"},
		"not base64": {"k:?" + encode(secret)[1:], "not base64"},
		"short":      {"k:" + encode(secret[:63]), "63 bytes, want 64"},
		"public":     {"k:" + encode(secret[:32]), "32 bytes, want 64"},
		"other half": {"k:" + encode(other), "halves"},
		"two in one": {"k:" + encode(secret) + "\nl:" + encode(secret), "not base64"},
		"empty":      {"", "not of the form"},
	} {
		_, err := ParseSecretKey([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), encode(secret)[4:20]) {
			t.Errorf("%s: the error has the secret", name)
		}
	}
	_, err := ParsePublicKey("k:" + encode(secret))
	if err == nil || !strings.Contains(err.Error(), "it is a secret one") {
		t.Errorf("error %v of a secret key", err)
	}
	k := testKey(t, "k", 7)
	back, err := ParsePublicKey(k.Public().String())
	if err != nil || back.String() != k.Public().String() || back.Name() != "k" {
		t.Errorf("key %v, error %v", back, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if shown := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, *k); shown != "kk" {
			t.Errorf("%s shows %s", verb, shown)
		}
	}
}

// A key that Nix has made is accepted.
func TestKeyOfNix(t *testing.T) {
	program, err := exec.LookPath("nix-store")
	if err != nil {
		t.Skip("needs Nix: apt-get install nix-bin")
	}
	dir := t.TempDir()
	secretFile, publicFile := filepath.Join(dir, "secret"), filepath.Join(dir, "public")
	cmd := exec.Command(program, "--generate-binary-cache-key", "release-1", secretFile, publicFile)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=local?root="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secretText, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	publicText, err := os.ReadFile(publicFile)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecretKey(secretText)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParsePublicKey(string(publicText))
	if err != nil {
		t.Fatal(err)
	}
	names, err := parseOne(t, signed(t, testLine(t), secret)).Verify(t.Context(), []*PublicKey{public})
	if err != nil || !slices.Equal(names, []string{"release-1"}) {
		t.Errorf("signed by %q, error %v", names, err)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"` + PredicateType + `","predicate":{}}`))
	f.Add([]byte(`{"payloadType":"` + payloadType + `","payload":"e30=","signatures":[{"keyid":"a","sig":"AA=="}]}`))
	public := &PublicKey{"a", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)).Public().(ed25519.PublicKey)}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseBundle(data)
		if err != nil {
			return
		}
		for _, a := range all {
			if claim, err := a.Claim(); err == nil && len(claim.Subjects) == 0 {
				t.Error("a claim without a subject")
			}
			if names, err := a.Verify(t.Context(), []*PublicKey{public}); err == nil {
				t.Errorf("signed by %q, with a key that has signed nothing", names)
			}
		}
	})
}
