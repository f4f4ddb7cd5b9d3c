package provenance

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Holder has store objects: a cache or a store. It is safe for concurrent use.
type Holder interface {
	// Name says where it is.
	Name() string
	// NARHash returns the SHA-256 of the NAR of a store object. The error is [ErrAbsent] if the holder does not have the
	// object, and [ErrDamaged] if the contents differ from the hash that is registered.
	NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error)
}

// Errors of a [Holder].
var (
	ErrAbsent  = errors.New("not there")
	ErrDamaged = errors.New("its contents are not those that are registered")
)

// Verdict is the result of checking a subject.
type Verdict string

// The verdicts of a check.
const (
	Same       Verdict = "ok"
	Differs    Verdict = "differs" // it has other contents
	Absent     Verdict = "not there"
	Unreadable Verdict = "unreadable" // the result is unknown
)

// Finding is the result of comparing a subject with a holder. Stated and Found are NAR hashes in SRI form.
type Finding struct {
	Path    nix.StorePath `json:"path"`
	Verdict Verdict       `json:"verdict"`
	Stated  string        `json:"stated"`
	Found   string        `json:"found,omitempty"` // where it differs
	// Reason is the error of reading, or the damage.
	Reason string `json:"reason,omitempty"`
}

// maxQuestions is the number of subjects that are looked up at the same time.
const maxQuestions = 8

// Check compares the subjects with a cache or a store. The findings are in the order of the subjects.
// The only error is that of the context; all others are findings.
func Check(ctx context.Context, subjects []Subject, h Holder) ([]Finding, error) {
	findings := make([]Finding, len(subjects))
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for i, s := range subjects {
		group.Go(func() error {
			hash, err := h.NARHash(ctx, s.Path)
			f := Finding{Path: s.Path, Stated: s.NARHash.SRI(), Verdict: Same}
			switch {
			case errors.Is(err, ErrAbsent):
				f.Verdict = Absent
			case errors.Is(err, ErrDamaged):
				f.Verdict, f.Reason = Differs, err.Error()
			case err != nil:
				f.Verdict, f.Reason = Unreadable, err.Error()
			case !hash.Equal(s.NARHash):
				f.Verdict, f.Found = Differs, hash.SRI()
			}
			findings[i] = f
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return findings, nil
}
