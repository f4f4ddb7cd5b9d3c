package provenance

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Holder is what has store objects: a cache or a store. It is safe for concurrent use.
type Holder interface {
	// Name says where it is.
	Name() string
	// NARHash returns the SHA-256 of the NAR of a store object. Where the object is not there, the error is [ErrAbsent];
	// where it is there and is not what it is promised to be, it is [ErrDamaged].
	NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error)
}

// Errors of a [Holder].
var (
	ErrAbsent  = errors.New("not there")
	ErrDamaged = errors.New("its contents are not those that are registered")
)

// Verdict is what became of a subject in one word.
type Verdict string

// The verdicts of a check.
const (
	Same       Verdict = "ok"
	Differs    Verdict = "differs" // it has other contents
	Absent     Verdict = "not there"
	Unreadable Verdict = "unreadable" // so that nothing can be said of it
)

// Finding is what a holder has of a subject.
type Finding struct {
	Subject
	Verdict Verdict
	// Found is the hash that the holder has for what differs.
	Found nix.Hash
	// Err is why nothing could be read, or what is damaged.
	Err error
}

// maxQuestions is how many subjects are looked up at a time.
const maxQuestions = 8

// Check holds the subjects against what a cache or a store has. The findings are in the order of the subjects.
// The error is that of a context that has ended; all others are findings.
func Check(ctx context.Context, subjects []Subject, h Holder) ([]Finding, error) {
	findings := make([]Finding, len(subjects))
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for i, s := range subjects {
		group.Go(func() error {
			hash, err := h.NARHash(ctx, s.Path)
			f := Finding{Subject: s, Verdict: Same}
			switch {
			case errors.Is(err, ErrAbsent):
				f.Verdict = Absent
			case errors.Is(err, ErrDamaged):
				f.Verdict, f.Err = Differs, err
			case err != nil:
				f.Verdict, f.Err = Unreadable, err
			case !hash.Equal(s.NARHash):
				f.Verdict, f.Found = Differs, hash
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
