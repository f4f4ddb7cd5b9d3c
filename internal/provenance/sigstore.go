package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const (
	bundleType = "application/vnd.dev.sigstore.bundle" // the begin of the media types of all versions
	gitHub     = "https://github.com/"
	// gitHubIssuer issues the OIDC tokens of GitHub Actions, for all repositories on github.com.
	gitHubIssuer = "https://token.actions.githubusercontent.com"

	maxTrustedRoot = 4 << 20
	maxRoots       = 20
)

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$`)
	workflowForm   = regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+/\.github/workflows/[A-Za-z0-9._-]+\.ya?ml$`)
)

// GitHub verifies the attestations of GitHub for one repository. It uses no network.
type GitHub struct {
	verifiers []*verify.Verifier // one for each trusted root
	identity  verify.CertificateIdentity
}

// ParseGitHub returns the verifier for the workflow runs of a repository. They have to sign with the given workflow, or if
// it is empty, with one of the same repository. The repository is required in both cases: any repository can call a
// public workflow.
func ParseGitHub(repository, workflow string) (*GitHub, error) {
	if !repositoryForm.MatchString(repository) {
		return nil, fmt.Errorf("parse repository %.80q: not of the form OWNER/NAME", repository)
	}
	// The certificate names the workflow as OWNER/NAME/.github/workflows/FILE@REF.
	signer := regexp.QuoteMeta(gitHub+repository+"/.github/workflows/") + "[^/@]+@"
	if workflow != "" {
		if !workflowForm.MatchString(workflow) {
			return nil, fmt.Errorf("parse workflow %.80q: not of the form OWNER/NAME/.github/workflows/FILE.yml", workflow)
		}
		signer = regexp.QuoteMeta(gitHub+workflow) + "@"
	}
	san, err := verify.NewSANMatcher("", "^"+signer)
	if err != nil {
		return nil, err
	}
	identity, err := verify.NewCertificateIdentity(san, verify.IssuerMatcher{Issuer: gitHubIssuer},
		certificate.Extensions{SourceRepositoryURI: gitHub + repository})
	return &GitHub{identity: identity}, err
}

// Trust reads the trusted roots, in the form of gh attestation trusted-root: JSON values, one a line.
func (g *GitHub) Trust(file regular.File) error {
	data, err := file.Read(maxTrustedRoot)
	if err != nil {
		return fmt.Errorf("read trusted root: %w", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) && len(g.verifiers) > 0 {
			return nil
		}
		if err == nil && len(g.verifiers) == maxRoots {
			err = fmt.Errorf("more than %d roots", maxRoots)
		}
		if err == nil {
			err = g.addRoot(raw)
		}
		if err != nil {
			return hint.Wrap(fmt.Errorf("read trusted root %s: %w", file.Path(), err), "gh attestation trusted-root >trusted_root.jsonl")
		}
	}
}

// addRoot requires what the root provides: Sigstore's public instance has logs of entries and certificates, and GitHub's
// instance for private repositories has timestamps alone.
func (g *GitHub) addRoot(raw []byte) error {
	if err := regular.CheckJSON(raw); err != nil {
		return err
	}
	trusted, err := root.NewTrustedRootFromJSON(raw)
	if err != nil {
		return err
	}
	options := []verify.VerifierOption{verify.WithSignedTimestamps(1)}
	if len(trusted.RekorLogs()) > 0 {
		options = []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	}
	if len(trusted.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(trusted, options...)
	g.verifiers = append(g.verifiers, verifier)
	return err
}

// verify returns the workflow that has signed, and the repository and commit of its run.
func (g *GitHub) verify(a *Attestation) ([]string, error) {
	// [Check] compares the subjects, because the artifacts are in a cache or a store.
	policy := verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithCertificateIdentity(g.identity))
	var failures []error
	for _, v := range g.verifiers {
		result, err := v.Verify(a.bundle, policy)
		if err == nil {
			c := result.Signature.Certificate
			return []string{c.SubjectAlternativeName, "for " + c.SourceRepositoryURI + "@" + c.SourceRepositoryDigest}, nil
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("check attestation of GitHub: %w", errors.Join(failures...))
}

// parseBundleOfSigstore reads the envelope in a bundle, whose form sigstore-go checks.
func parseBundleOfSigstore(raw []byte) (*Attestation, error) {
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("bundle: %.300v", err) // the error can repeat a large field
	}
	envelope := b.GetDsseEnvelope()
	if envelope == nil || envelope.GetPayloadType() != payloadType {
		return nil, fmt.Errorf("bundle: it has no envelope of %s", payloadType)
	}
	return &Attestation{raw: raw, payload: envelope.GetPayload(), bundle: b}, nil
}

// Trust is who may sign: the holder of a key, or GitHub. Without both, statements are not verified, and bundles are errors.
type Trust struct {
	Keys   []*PublicKey
	GitHub *GitHub
}

// Verify verifies the signature of an attestation, and returns the names of the signers.
func (t Trust) Verify(ctx context.Context, a *Attestation) ([]string, error) {
	switch {
	case a.bundle != nil && t.GitHub == nil:
		return nil, hint.Wrap(errors.New("check attestation of GitHub: no trusted root and repository are given"),
			"gh attestation trusted-root >trusted_root.jsonl, then add --trusted-root trusted_root.jsonl --repo OWNER/NAME")
	case a.bundle != nil:
		return t.GitHub.verify(a)
	case len(t.Keys) > 0:
		return a.Verify(ctx, t.Keys)
	case t.GitHub != nil:
		return nil, errors.New("check attestation of GitHub: it is a statement without a bundle of Sigstore")
	}
	return nil, nil
}
