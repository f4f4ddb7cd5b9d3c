// Package provenance writes and verifies the provenance of the outputs of a run.
//
// [Statement] converts a manifest to an in-toto statement (https://github.com/in-toto/attestation/tree/main/spec/v1)
// with a predicate of SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance): the NAR hashes of the outputs, and the
// sources, inputs and conditions of their builds. [Write] signs it if there is a key, and writes it beside the manifest.
// [Read], [Attestation.Verify] and [Check] verify the signature, the form, and the outputs in a cache or a store.
//
// docs/provenance.md, which is the build type of the statement, documents the fields.
package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

const (
	// PredicateType is that of SLSA provenance v1.
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType is the URL of the documentation of the parameters.
	BuildType = project + "/blob/main/docs/provenance.md#build-type-v1"

	project = "https://github.com/scopecreep-zip/open-sesame-ci"
	// narType is the media type of NARs in Nix. It identifies the bytes that a hash is of.
	narType = "application/x-nix-nar"
)

// ErrNoSubjects is the error of a run that has no output in its store.
var ErrNoSubjects = errors.New("the run has no output of its own")

// Statement returns the provenance of the outputs of a run. It depends only on the manifest and the facts. Its subjects are
// the outputs that the run built, fetched or found in the store, and not those that stayed in a cache. If there are none,
// the error is [ErrNoSubjects].
func Statement(m *run.Manifest, f Facts) (*intoto.Statement, error) {
	s, err := statement(m, f)
	if err != nil {
		return nil, fmt.Errorf("state provenance: %w", err)
	}
	return s, nil
}

func statement(m *run.Manifest, f Facts) (*intoto.Statement, error) {
	subjects, err := subjects(m)
	if err != nil {
		return nil, err
	}
	if len(subjects) == 0 {
		return nil, ErrNoSubjects
	}
	definition, err := buildDefinition(m)
	if err != nil {
		return nil, err
	}
	run, err := runDetails(m, f)
	if err != nil {
		return nil, err
	}
	provenance := &slsa.Provenance{BuildDefinition: definition, RunDetails: run}
	predicate := new(structpb.Struct)
	if err := convert(provenance, predicate); err != nil {
		return nil, err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subjects, PredicateType: PredicateType, Predicate: predicate}
	return s, errors.Join(provenance.Validate(), s.Validate())
}

// subjects returns the outputs in the manifest's order. Several packages may have the same output.
func subjects(m *run.Manifest) ([]*intoto.ResourceDescriptor, error) {
	var found []*output
	byPath := map[nix.StorePath]*output{}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			switch p.Verdict {
			case run.Built, run.Substituted, run.Present:
			default:
				continue
			}
			for _, o := range p.Outputs {
				// The form in which Nix's own command line names an output of a flake.
				installable := fmt.Sprintf("packages.%s.%s^%s", cell.System, nix.Attribute(string(p.Package)), o.Name)
				known := byPath[o.Path]
				if known == nil {
					known = &output{Output: o, derivation: p.Derivation, verdict: p.Verdict}
					byPath[o.Path], found = known, append(found, known)
				}
				if known.NARHash != o.NARHash {
					return nil, fmt.Errorf("output %s has the NAR hashes %s and %s", o.Path, known.NARHash, o.NARHash)
				}
				known.installables = append(known.installables, installable)
				if p.Verdict == run.Built {
					known.verdict = p.Verdict
				}
			}
		}
	}
	var all []*intoto.ResourceDescriptor
	for _, o := range found {
		subject, err := o.subject()
		if err != nil {
			return nil, err
		}
		all = append(all, subject)
	}
	return all, nil
}

type output struct {
	run.Output
	derivation   nix.StorePath
	verdict      run.Verdict
	installables []string
}

// subject describes an output. Its name is the base name of the store path, as in newer formats of Nix.
// Its digest is called sha256, as in-toto allows "where the method of serialization is obvious or well known":
// other readers would ignore a name of our own.
func (o *output) subject() (*intoto.ResourceDescriptor, error) {
	digest, err := sha256Of(o.NARHash)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", o.Path, err)
	}
	annotations, err := object(map[string]any{
		"installables": o.installables, "derivation": o.derivation, "narSize": o.NARSize, "verdict": o.verdict,
	})
	return &intoto.ResourceDescriptor{
		Name: o.Path.Base(), Digest: digest, MediaType: narType, Annotations: annotations,
	}, err
}

func sha256Of(sri string) (map[string]string, error) {
	hash, err := nix.ParseHash(sri)
	if err != nil {
		return nil, err
	}
	return map[string]string{"sha256": hash.RawBase16()}, nil
}

// Encode returns a statement as JSON on one line, always with the same bytes.
func Encode(s *intoto.Statement) ([]byte, error) {
	data, err := protojson.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode statement: %v", err)
	}
	return compact(data)
}

// compact removes the random spaces of protojson, whose order of fields and keys is fixed.
func compact(data []byte) ([]byte, error) {
	var b bytes.Buffer
	err := json.Compact(&b, data)
	return b.Bytes(), err
}

// object converts a value to a JSON object of a statement.
func object(v any) (*structpb.Struct, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	s := new(structpb.Struct)
	return s, protojson.Unmarshal(data, s)
}

// convert converts one message to another one through their JSON.
func convert(from, to proto.Message) error {
	data, err := protojson.Marshal(from)
	if err != nil {
		return err
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, to)
}
