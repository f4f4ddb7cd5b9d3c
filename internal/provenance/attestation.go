package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// payloadType is the type of a statement of in-toto in an envelope.
const payloadType = "application/vnd.in-toto+json"

// Limits for untrusted files.
const (
	maxFile         = 64 << 20
	maxAttestations = 1000
	maxSignatures   = 100
)

// ErrNotSigned is the error of an attestation without a signature.
var ErrNotSigned = errors.New("not signed")

// Attestation is a statement in an envelope or a bundle of Sigstore, or a statement without a signature.
type Attestation struct {
	// raw is the text in the file, and payload the statement in it.
	raw, payload []byte
	envelope     *dsse.Envelope // nil for a bare statement and a bundle
	bundle       *bundle.Bundle
}

// Read reads a bundle of attestations: JSON values, one a line as in in-toto, or on several lines.
// It does not read or verify the statements.
func Read(file regular.File) ([]*Attestation, error) {
	attestations, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("read provenance %s: %w", file.Path(), err)
	}
	return attestations, nil
}

func read(file regular.File) ([]*Attestation, error) {
	data, err := file.Read(maxFile)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the caller names the file
		}
		return nil, err
	}
	return parseBundle(data)
}

func parseBundle(data []byte) ([]*Attestation, error) {
	var all []*Attestation
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var raw json.RawMessage
		switch err := dec.Decode(&raw); {
		case errors.Is(err, io.EOF) && len(all) == 0:
			return nil, errors.New("empty")
		case errors.Is(err, io.EOF):
			return all, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, hint.Wrap(errors.New("cut off: the JSON has no end"), "fetch or copy the file again")
		case err != nil:
			return nil, fmt.Errorf("not JSON, at byte %d: %v", dec.InputOffset(), err)
		case len(all) == maxAttestations:
			return nil, fmt.Errorf("more than %d attestations", maxAttestations)
		}
		a, err := parseAttestation(raw)
		if err != nil {
			return nil, fmt.Errorf("attestation %d: %w", len(all)+1, err)
		}
		all = append(all, a)
	}
}

// parseAttestation distinguishes a bundle, an envelope and a statement by a field that only one of them has.
func parseAttestation(raw []byte) (*Attestation, error) {
	if err := regular.CheckJSON(raw); err != nil {
		return nil, err
	}
	var either struct {
		Type        string `json:"_type"`
		PayloadType string `json:"payloadType"`
		MediaType   string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &either); err != nil {
		return nil, fmt.Errorf("neither an envelope nor a statement: %v", err)
	}
	switch {
	case strings.HasPrefix(either.MediaType, bundleType):
		return parseBundleOfSigstore(raw)
	case either.PayloadType == "" && either.Type == "":
		return nil, errors.New("neither an envelope nor a statement: it has no payloadType and no _type")
	case either.PayloadType == "":
		return &Attestation{raw: raw, payload: raw}, nil
	case either.PayloadType != payloadType:
		return nil, fmt.Errorf("an envelope of %q, not of %s", either.PayloadType, payloadType)
	}
	envelope := new(dsse.Envelope)
	if err := json.Unmarshal(raw, envelope); err != nil {
		return nil, fmt.Errorf("envelope: %v", err)
	}
	if len(envelope.Signatures) > maxSignatures {
		return nil, fmt.Errorf("envelope: %d signatures, where %d are the most", len(envelope.Signatures), maxSignatures)
	}
	payload, err := envelope.DecodeB64Payload()
	if err != nil {
		return nil, errors.New("envelope: its payload is not base64")
	}
	return &Attestation{raw: raw, payload: payload, envelope: envelope}, nil
}

// Signers returns the key names in the signatures. They are not verified; see [Attestation.Verify].
func (a *Attestation) Signers() []string {
	var names []string
	if a.envelope != nil {
		for _, s := range a.envelope.Signatures {
			names = append(names, s.KeyID)
		}
	}
	return names
}

// Verify returns the names of the keys that have signed the attestation; at least one is required.
// It ignores signatures of other keys, like trusted-public-keys of Nix.
// If there is no signature, the error is [ErrNotSigned].
func (a *Attestation) Verify(ctx context.Context, keys []*PublicKey) ([]string, error) {
	if len(a.Signers()) == 0 {
		return nil, fmt.Errorf("check signature: %w", ErrNotSigned)
	}
	var verifiers []dsse.Verifier
	for i, k := range keys {
		// dsse counts keys with the same name as one, and prints that to standard output.
		if slices.ContainsFunc(keys[:i], func(other *PublicKey) bool { return other.name == k.name }) {
			return nil, fmt.Errorf("check signature: two keys are called %s", k.name)
		}
		verifiers = append(verifiers, verifier{k})
	}
	envelope, err := dsse.NewEnvelopeVerifier(verifiers...)
	if err != nil {
		return nil, fmt.Errorf("check signature: %v", err)
	}
	accepted, err := envelope.Verify(ctx, a.envelope)
	if err != nil {
		return nil, a.explain(keys)
	}
	var names []string
	for _, k := range accepted {
		names = append(names, k.KeyID)
	}
	return names, nil
}

// explain distinguishes a wrong signature from one of a key that was not given.
func (a *Attestation) explain(keys []*PublicKey) error {
	for _, k := range keys {
		if slices.Contains(a.Signers(), k.name) {
			return fmt.Errorf("check signature: it is not of key %s: the statement was changed, or another key has that name", k)
		}
	}
	return fmt.Errorf("check signature: signed by %s, by none of the keys given", quoted(a.Signers()))
}

func quoted(names []string) string {
	var shown []string
	for _, n := range names {
		shown = append(shown, fmt.Sprintf("%.80q", n))
	}
	return strings.Join(shown, ", ")
}
