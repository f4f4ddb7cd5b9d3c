package provenance

import (
	"errors"
	"fmt"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// ErrOther is the error of an attestation that is not provenance.
var ErrOther = errors.New("not SLSA provenance v1")

// Claim is the part of a statement that this package can compare with a cache or a store.
type Claim struct {
	Builder  string
	Subjects []Subject
	// Started and Finished are the times of the run, as in its manifest.
	Started, Finished string
	// Byproducts are the hashes of the other files of the run, by name.
	Byproducts map[string]nix.Hash
}

// Subject is an output by the hash of its NAR.
type Subject struct {
	Path    nix.StorePath
	NARHash nix.Hash
	// Verdict is how the run got the output: "built", "substituted" or "present".
	Verdict string
}

// Claim reads the statement. A statement of another kind is an [ErrOther]. Unknown fields are ignored.
func (a *Attestation) Claim() (*Claim, error) {
	c, err := a.claim()
	if err != nil {
		return nil, fmt.Errorf("read statement: %w", err)
	}
	return c, nil
}

func (a *Attestation) claim() (*Claim, error) {
	if err := regular.CheckJSON(a.payload); err != nil {
		return nil, err
	}
	s := new(intoto.Statement)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(a.payload, s); err != nil {
		return nil, err
	}
	if s.GetType() != intoto.StatementTypeUri {
		return nil, fmt.Errorf("a statement of type %.80q, not %s", s.GetType(), intoto.StatementTypeUri)
	}
	if s.GetPredicateType() != PredicateType {
		return nil, fmt.Errorf("%w: its predicate is of type %.80q", ErrOther, s.GetPredicateType())
	}
	provenance := new(slsa.Provenance)
	if err := convert(s.GetPredicate(), provenance); err != nil {
		return nil, fmt.Errorf("its predicate: %w", err)
	}
	if err := errors.Join(s.Validate(), provenance.Validate()); err != nil {
		return nil, err
	}
	run := provenance.GetRunDetails()
	claim := &Claim{Builder: run.GetBuilder().GetId(), Byproducts: map[string]nix.Hash{}}
	claim.Started = run.GetMetadata().GetStartedOn().AsTime().Format(time.RFC3339)
	claim.Finished = run.GetMetadata().GetFinishedOn().AsTime().Format(time.RFC3339)
	for _, file := range run.GetByproducts() {
		if hash, err := nix.ParseHash("sha256:" + file.GetDigest()["sha256"]); err == nil {
			claim.Byproducts[file.GetName()] = hash
		}
	}
	seen := map[nix.StorePath]bool{}
	for _, d := range s.GetSubject() {
		subject, err := parseSubject(d)
		if err != nil {
			return nil, err
		}
		if seen[subject.Path] {
			return nil, fmt.Errorf("subject %s is there twice", d.GetName())
		}
		seen[subject.Path] = true
		claim.Subjects = append(claim.Subjects, subject)
	}
	return claim, nil
}

func parseSubject(d *intoto.ResourceDescriptor) (s Subject, err error) {
	if s.Path, err = nix.ParseStorePath(string(nix.StoreDir) + "/" + d.GetName()); err != nil || s.Path.Base() != d.GetName() {
		return s, fmt.Errorf("subject %.80q is not called after a store path", d.GetName())
	}
	if s.NARHash, err = nix.ParseHash("sha256:" + d.GetDigest()["sha256"]); err != nil {
		return s, fmt.Errorf("subject %s has no sha256 digest", d.GetName())
	}
	s.Verdict = d.GetAnnotations().GetFields()["verdict"].GetStringValue()
	return s, nil
}
