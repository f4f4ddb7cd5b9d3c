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

// FileName is the name of the bundle in the directory of a run's results. Each line is an attestation. SLSA and in-toto
// require the extension.
const FileName = "provenance.intoto.jsonl"

// Sign returns a statement, encoded by [Encode], in an envelope with the key's signature. The result depends only on the
// statement and the key.
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

// Write adds the statement of a run to [FileName] in out, and returns the path of the file. It signs the statement if the
// key is not nil. Readers of bundles ignore a statement without a signature, because it proves nothing.
//
// Write keeps the earlier statements, except those that the new one covers: the statement of a run of one system must not
// replace that of another system. If the run has no output of its own, the error is [ErrNoSubjects], and the file does not
// change.
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

// merge returns the lines of a bundle: the earlier ones that the new one does not cover, and the new one.
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

// covers reports whether c has all subjects of another claim, with the same hash, and with the same verdict or "built".
func (c *Claim) covers(other *Claim) bool {
	current := map[nix.StorePath]Subject{}
	for _, s := range c.Subjects {
		current[s.Path] = s
	}
	for _, s := range other.Subjects {
		m := current[s.Path]
		if !m.NARHash.Equal(s.NARHash) || m.Verdict != s.Verdict && m.Verdict != string(run.Built) {
			return false
		}
	}
	return true
}
