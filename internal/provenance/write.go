package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// FileName is the name of the bundle in the directory of a run's results. SLSA and in-toto ask for its ending:
// each line of it is an attestation.
const FileName = "provenance.intoto.jsonl"

// Sign returns a statement, encoded by [Encode], in an envelope that the key has signed. The same statement and key
// give the same bytes.
func Sign(ctx context.Context, statement []byte, key *SecretKey) ([]byte, error) {
	s, err := dsse.NewEnvelopeSigner(signer{key})
	if err != nil {
		return nil, fmt.Errorf("sign statement: %v", err)
	}
	envelope, err := s.SignPayload(ctx, payloadType, statement)
	if err != nil {
		return nil, fmt.Errorf("sign statement: %v", err)
	}
	return json.Marshal(envelope)
}

// Write states where the outputs of a run come from, signs that where the key is not nil, and writes it into [FileName]
// in out, whose path it returns. Without a key the line is the bare statement, which readers of bundles pass over:
// it proves nothing to them.
//
// Statements that are there already stay, unless the new one says as much of all of their outputs: a second run that
// built one system must not forget where the other's outputs came from. Where the run has no output of its own,
// the file is left as it is, and the error is [ErrNoSubjects].
func Write(ctx context.Context, out *regular.Dir, m *run.Manifest, f Facts, key *SecretKey) (string, error) {
	s, err := Statement(m, f)
	if err != nil {
		return "", err
	}
	line, err := Encode(s)
	if err != nil {
		return "", err
	}
	added := &Attestation{raw: line, payload: line}
	if key != nil {
		if added.raw, err = Sign(ctx, line, key); err != nil {
			return "", err
		}
	}
	file := regular.File{Dir: out, Base: FileName}
	earlier, err := Read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", hint.Wrap(fmt.Errorf("write provenance: %w", err), "move the file away; a new one is then written")
	}
	data, err := merge(earlier, added)
	if err == nil {
		err = file.Write(data)
	}
	if err != nil {
		return "", fmt.Errorf("write provenance %s: %v", file.Path(), err)
	}
	return file.Path(), nil
}

// merge returns the lines of a bundle: those earlier ones that say something still, and the new one.
func merge(earlier []*Attestation, added *Attestation) ([]byte, error) {
	claim, err := added.Claim()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, a := range earlier {
		old, err := a.Claim()
		if err == nil && claim.covers(old) && len(a.Signers()) <= len(added.Signers()) {
			continue
		}
		if err := json.Compact(&b, a.raw); err != nil {
			return nil, err
		}
		b.WriteByte('\n')
	}
	b.Write(added.raw)
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// covers reports whether c says of all subjects of another claim what that says: the same hash, by the same deed or a better one.
func (c *Claim) covers(other *Claim) bool {
	mine := map[nix.StorePath]Subject{}
	for _, s := range c.Subjects {
		mine[s.Path] = s
	}
	for _, s := range other.Subjects {
		m := mine[s.Path]
		if !m.NARHash.Equal(s.NARHash) || m.Verdict != s.Verdict && m.Verdict != string(run.Built) {
			return false
		}
	}
	return true
}
