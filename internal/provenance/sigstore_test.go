package provenance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/testing/data"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	testRepository = "owner/name"
	testWorkflow   = "signer/repo/.github/workflows/attest.yml"
)

// sigstore is an instance of Sigstore with certificates like those that GitHub Actions get.
type sigstore struct {
	*ca.VirtualSigstore
	authority root.FulcioCertificateAuthority
	key       *ecdsa.PrivateKey
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newSigstore(t *testing.T) *sigstore {
	t.Helper()
	top, topKey, err := ca.GenerateRootCa()
	if err != nil {
		t.Fatal(err)
	}
	middle, key, err := ca.GenerateFulcioIntermediate(top, topKey)
	if err != nil {
		t.Fatal(err)
	}
	return &sigstore{must[*ca.VirtualSigstore](t)(ca.NewVirtualSigstore()), root.FulcioCertificateAuthority{
		Root: top, Intermediates: []*x509.Certificate{middle}, URI: "https://fulcio.example.org",
		ValidityPeriodStart: time.Now().Add(-5 * time.Hour), ValidityPeriodEnd: time.Now().Add(time.Hour),
	}, key}
}

// trusted is the trusted root, as for repositories that are public (with logs), or private.
func (s *sigstore) trusted(t *testing.T, public, certificateLogs bool) []byte {
	t.Helper()
	authorities := []root.CertificateAuthority{&s.authority}
	logs, ctLogs := map[string]*root.TransparencyLog{}, map[string]*root.TransparencyLog{}
	fix := func(from, to map[string]*root.TransparencyLog) {
		for id, log := range from {
			log.ID = must[[]byte](t)(hex.DecodeString(id))
			to[id] = log
		}
	}
	if public {
		fix(s.RekorLogs(), logs)
	}
	if certificateLogs {
		fix(s.CTLogs(), ctLogs)
	}
	r := must[*root.TrustedRoot](t)(root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, ctLogs, s.TimestampingAuthorities(), logs))
	return must[[]byte](t)(r.MarshalJSON())
}

// job is a job on GitHub that signs.
type job struct {
	repository, workflow, issuer string
	began                        time.Time
}

func (s *sigstore) certificate(t *testing.T, j job) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	extension := func(number int, value string) pkix.Extension {
		return pkix.Extension{
			Id:    asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, number},
			Value: must[[]byte](t)(asn1.MarshalWithParams(value, "utf8")),
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: j.began, NotAfter: j.began.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		URIs:            []*url.URL{must[*url.URL](t)(url.Parse(gitHub + j.workflow + "@refs/heads/main"))},
		ExtraExtensions: []pkix.Extension{extension(8, j.issuer), extension(12, gitHub+j.repository), extension(13, "c0ffee")},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, s.authority.Intermediates[0], key.Public(), s.key))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der)), key
}

// attest makes a bundle, as actions/attest-build-provenance does.
func (s *sigstore) attest(t *testing.T, j job, payload []byte) *protobundle.Bundle {
	t.Helper()
	leaf, key := s.certificate(t, j)
	signer := must[*signature.ECDSASignerVerifier](t)(signature.LoadECDSASignerVerifier(key, crypto.SHA256))
	envelopeSigner := must[*dsse.EnvelopeSigner](t)(dsse.NewEnvelopeSigner(&sigdsse.SignerAdapter{SignatureSigner: signer, Pub: key.Public()}))
	envelope := must[*dsse.Envelope](t)(envelopeSigner.SignPayload(t.Context(), payloadType, payload))
	sig := must[[]byte](t)(base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig))
	entry, err := s.GenerateTlogEntry(leaf, envelope, sig, time.Now().Unix(), true)
	if err != nil {
		t.Fatal(err)
	}
	logged := entry.TransparencyLogEntry()
	logged.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"} // as the log answers
	stamp := must[[]byte](t)(s.TimestampResponse(sig))
	return &protobundle.Bundle{
		MediaType: bundleType + ".v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: leaf.Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{logged},
			TimestampVerificationData: &protobundle.TimestampVerificationData{
				Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
			},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
		}},
	}
}

func trustGitHub(t *testing.T, workflow string, roots ...[]byte) Trust {
	t.Helper()
	g := must[*GitHub](t)(ParseGitHub(testRepository, workflow))
	file := filepath.Join(t.TempDir(), "root")
	if err := os.WriteFile(file, bytes.Join(roots, []byte("\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Trust(regular.AnyFile(file)); err != nil {
		t.Fatal(err)
	}
	return Trust{GitHub: g}
}

func TestGitHub(t *testing.T) {
	ours, other := newSigstore(t), newSigstore(t)
	line := testLine(t)
	good := job{testRepository, testWorkflow, gitHubIssuer, time.Now().Add(-time.Minute)}
	with := func(change func(*job)) *protobundle.Bundle {
		j := good
		change(&j)
		return ours.attest(t, j, line)
	}
	forged := func(change func(*protobundle.Bundle)) *protobundle.Bundle {
		b := ours.attest(t, good, line)
		change(b)
		return b
	}
	another := ours.attest(t, good, bytes.Replace(line, []byte("82407c4e"), []byte("82407c4f"), 1))
	public, private := trustGitHub(t, testWorkflow, ours.trusted(t, true, false)), trustGitHub(t, testWorkflow, ours.trusted(t, false, false))
	noEntry := func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }
	noStamp := func(b *protobundle.Bundle) { b.VerificationMaterial.TimestampVerificationData = nil }
	for name, test := range map[string]struct {
		bundle *protobundle.Bundle
		trust  Trust
		err    string
	}{
		"good":                         {with(func(*job) {}), public, ""},
		"good, private":                {forged(noEntry), private, ""},
		"good, two roots":              {with(func(*job) {}), trustGitHub(t, testWorkflow, other.trusted(t, true, false), ours.trusted(t, true, false)), ""},
		"good, workflow of repository": {with(func(j *job) { j.workflow = testRepository + "/.github/workflows/x.yml" }), trustGitHub(t, "", ours.trusted(t, true, false)), ""},

		"another repository":           {with(func(j *job) { j.repository = "owner/other" }), public, "SourceRepositoryURI"},
		"a repository that begins so":  {with(func(j *job) { j.repository = "owner/name2" }), public, "SourceRepositoryURI"},
		"another workflow":             {with(func(j *job) { j.workflow = "signer/repo/.github/workflows/other.yml" }), public, "SAN"},
		"a workflow that begins so":    {with(func(j *job) { j.workflow = testWorkflow + "l" }), public, "SAN"},
		"a workflow that ends so":      {with(func(j *job) { j.workflow = "evil/" + gitHub + testWorkflow }), public, "SAN"},
		"a workflow elsewhere":         {with(func(*job) {}), trustGitHub(t, "", ours.trusted(t, true, false)), "SAN"},
		"a workflow of another's name": {with(func(j *job) { j.workflow = "owner/name2/.github/workflows/x.yml" }), trustGitHub(t, "", ours.trusted(t, true, false)), "SAN"},
		"another issuer":               {with(func(j *job) { j.issuer += ".example.org" }), public, "issuer"},
		"another Sigstore":             {other.attest(t, good, line), public, "verify"},
		"expired":                      {with(func(j *job) { j.began = j.began.Add(-time.Hour) }), public, "certificate"},
		"expired, private":             {with(func(j *job) { j.began = j.began.Add(-time.Hour) }), private, "certificate"},
		"of the future":                {with(func(j *job) { j.began = time.Now().Add(time.Hour) }), public, "certificate"},
		"another payload":              {forged(func(b *protobundle.Bundle) { b.Content = another.Content }), public, "verify"},
		"a changed payload":            {forged(func(b *protobundle.Bundle) { b.GetDsseEnvelope().Payload = another.GetDsseEnvelope().GetPayload() }), public, "verify"},
		"a changed payload, private":   {forged(func(b *protobundle.Bundle) { b.GetDsseEnvelope().Payload = another.GetDsseEnvelope().GetPayload() }), private, "verify"},
		"another certificate":          {forged(func(b *protobundle.Bundle) { b.VerificationMaterial.Content = another.VerificationMaterial.Content }), public, "verify"},
		"another certificate, private": {forged(func(b *protobundle.Bundle) { b.VerificationMaterial.Content = another.VerificationMaterial.Content }), private, "verify"},
		"another signature": {forged(func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Signatures = another.GetDsseEnvelope().GetSignatures()
		}), private, "verify"},
		"no signature": {forged(func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures = nil }), private, ""},
		"no log entry": {forged(noEntry), public, "not enough verified log entries"},
		"another log entry": {forged(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = another.VerificationMaterial.GetTlogEntries()
		}), public, "verify"},
		"no timestamp, no promise": {forged(noStamp), public, "timestamp"},
		"no timestamp, private":    {forged(noStamp), private, "timestamp"},
		"another timestamp, private": {forged(func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = another.VerificationMaterial.GetTimestampVerificationData()
		}), private, "timestamp"},
		"certificate not in a log": {with(func(*job) {}), trustGitHub(t, testWorkflow, ours.trusted(t, true, true)), "signed certificate timestamp"},
		"a key, no certificate": {forged(func(b *protobundle.Bundle) {
			b.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "x"}}
		}), private, "key"},
		"no trust":         {with(func(*job) {}), Trust{}, "no trusted root and repository are given"},
		"a key is trusted": {with(func(*job) {}), Trust{Keys: []*PublicKey{testKey(t, "a-1", 1).Public()}}, "no trusted root and repository are given"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := parseBundle(must[[]byte](t)(protojson.Marshal(test.bundle)))
			var signers []string
			if err == nil {
				signers, err = test.trust.Verify(t.Context(), all[0])
			}
			if strings.HasPrefix(name, "good") {
				if err != nil || len(signers) != 2 || signers[1] != "for "+gitHub+testRepository+"@c0ffee" {
					t.Fatalf("signers %q, error %v", signers, err)
				}
				claim := must[*Claim](t)(all[0].Claim())
				if len(claim.Subjects) == 0 {
					t.Error("no subjects")
				}
			} else if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("signers %q, error %v, want %q in it", signers, err, test.err)
			} else {
				t.Log(err)
			}
		})
	}
}

// TestGitHubRefusesOwnStatements: who asks for GitHub's attestation does not get a statement that another file has.
func TestGitHubRefusesOwnStatements(t *testing.T) {
	trust := trustGitHub(t, "", newSigstore(t).trusted(t, true, false))
	line, key := testLine(t), testKey(t, "a-1", 1)
	for name, data := range map[string][]byte{"bare": line, "signed": signed(t, line, key)} {
		if _, err := trust.Verify(t.Context(), parseOne(t, data)); err == nil || !strings.Contains(err.Error(), "without a bundle") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	trust.Keys = []*PublicKey{key.Public()}
	if names, err := trust.Verify(t.Context(), parseOne(t, signed(t, line, key))); err != nil || len(names) != 1 {
		t.Errorf("with the key: signers %q, error %v", names, err)
	}
}

// TestGitHubAgainstCache: the subjects are compared as those of our own statements. With -update it writes the files that
// the test of the command line reads; they do not expire, because the timestamp is the time of verification.
func TestGitHubAgainstCache(t *testing.T) {
	bundleFile, rootFile := filepath.Join("testdata", "github.jsonl"), filepath.Join("testdata", "trusted_root.jsonl")
	if *update {
		s := newSigstore(t)
		line := must[[]byte](t)(os.ReadFile(filepath.Join("testdata", "github-statement.json")))
		b := s.attest(t, job{testRepository, testWorkflow, gitHubIssuer, time.Now().Add(-time.Minute)}, line)
		for file, data := range map[string][]byte{bundleFile: must[[]byte](t)(protojson.Marshal(b)), rootFile: s.trusted(t, true, false)} {
			if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := must[*GitHub](t)(ParseGitHub(testRepository, testWorkflow))
	if err := g.Trust(regular.AnyFile(rootFile)); err != nil {
		t.Fatal(err)
	}
	a := must[[]*Attestation](t)(Read(regular.AnyFile(bundleFile)))[0]
	if _, err := (Trust{GitHub: g}).Verify(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	claim := must[*Claim](t)(a.Claim())
	zero := mustHash(t, "sha256:"+strings.Repeat("0", 64))
	holder := fixedHolder{claim.Subjects[0].Path: zero, claim.Subjects[1].Path: mustHash(t, "sha256:"+strings.Repeat("1", 64))}
	findings := must[[]Finding](t)(Check(t.Context(), claim.Subjects, holder))
	for i, want := range []Verdict{Same, Differs, Absent} {
		if findings[i].Verdict != want {
			t.Errorf("%s is %s, want %s", findings[i].Path, findings[i].Verdict, want)
		}
	}
}

// fixedHolder has hashes of objects, as a narinfo has.
type fixedHolder map[nix.StorePath]nix.Hash

func (fixedHolder) Name() string { return "test" }

func (h fixedHolder) NARHash(_ context.Context, path nix.StorePath) (nix.Hash, error) {
	if hash, ok := h[path]; ok {
		return hash, nil
	}
	return nix.Hash{}, ErrAbsent
}

// TestGitHubReal verifies a bundle that GitHub Actions and Sigstore's public instance made.
func TestGitHubReal(t *testing.T) {
	bundle := must[[]byte](t)(data.Bundle(t, "sigstore.js@2.0.0-provenance.sigstore.json").MarshalJSON())
	trusted := must[[]byte](t)(data.TrustedRoot(t, "public-good.json").MarshalJSON())
	trust := trustGitHub(t, "", trusted)
	for repository, want := range map[string]string{"sigstore/sigstore-js": "", testRepository: "SAN"} {
		roots := trust.GitHub.verifiers
		trust.GitHub = must[*GitHub](t)(ParseGitHub(repository, ""))
		trust.GitHub.verifiers = roots
		names, err := trust.Verify(t.Context(), parseOne(t, bundle))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: signers %q, error %v, want %q in it", repository, names, err, want)
		}
	}
}

func TestParseGitHubRefuses(t *testing.T) {
	for _, names := range [][2]string{
		{"", ""},
		{"owner", ""},
		{"owner/name/x", ""},
		{"https://github.com/owner/name", ""},
		{"owner/.*|x", ""},
		{"owner/name", "attest.yml"},
		{"owner/name", "owner/name/attest.yml"},
		{"owner/name", testWorkflow + "@main"},
	} {
		if _, err := ParseGitHub(names[0], names[1]); err == nil {
			t.Errorf("%q is accepted", names)
		}
	}
	for name, text := range map[string]string{"empty": "", "not JSON": "x", "another object": "{}", "cut off": `{"mediaType":`} {
		file := filepath.Join(t.TempDir(), "root")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g := must[*GitHub](t)(ParseGitHub(testRepository, ""))
		if err := g.Trust(regular.AnyFile(file)); err == nil {
			t.Errorf("%s: the trusted root is accepted", name)
		}
	}
}
