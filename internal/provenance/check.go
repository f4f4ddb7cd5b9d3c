package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Holder has store objects: a cache or a store. It is safe for concurrent use.
type Holder interface {
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

type Verdict string

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

// Cache is a binary cache. It implements [Holder].
type Cache struct {
	run.NARHasher
	// Deep reads and hashes each NAR. Otherwise the narinfo is trusted.
	Deep bool
}

// NARHash returns the hash in the narinfo. With [Cache].Deep the NAR must have it.
func (c Cache) NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error) {
	infos, err := c.Infos(ctx, []nix.StorePath{path})
	info, found := infos[path]
	switch {
	case err != nil:
		return nix.Hash{}, err
	case !found:
		return nix.Hash{}, ErrAbsent
	case !c.Deep:
		return info.NARHash, nil
	}
	err = run.DumpVerified(ctx, io.Discard, c, path)
	if errors.Is(err, nar.ErrMismatch) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return info.NARHash, err
}

// Runner runs commands of Nix. Every [engine.Executor] does.
type Runner interface {
	Run(ctx context.Context, cmd engine.Command) ([]byte, error)
}

// Store is the store of a Nix. It implements [Holder].
type Store struct {
	Runner
	// Deep makes Nix read and hash each object. Otherwise the hash is the one that Nix registered when it added the object.
	Deep bool
}

// Name returns "the store": Nix chooses which one.
func (s Store) Name() string { return "the store" }

// NARHash uses nix-store, whose output is the same in all versions, unlike that of nix path-info.
func (s Store) NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error) {
	// This command reports an absent object in its output; the others fail.
	invalid, err := s.ask(ctx, "--check-validity", "--print-invalid", string(path))
	if err != nil {
		return nix.Hash{}, err
	}
	if invalid != "" {
		return nix.Hash{}, ErrAbsent
	}
	text, err := s.ask(ctx, "--query", "--hash", string(path))
	if err != nil {
		return nix.Hash{}, err
	}
	if s.Deep {
		if err := s.reread(ctx, path); err != nil {
			return nix.Hash{}, err
		}
	}
	return nix.ParseHash(text)
}

// reread makes Nix compare the files with the registered hash.
func (s Store) reread(ctx context.Context, path nix.StorePath) error {
	_, err := s.ask(ctx, "--verify-path", string(path))
	var exit *engine.ExitError
	if errors.As(err, &exit) && exit.Code == 1 {
		return ErrDamaged
	}
	return err
}

func (s Store) ask(ctx context.Context, args ...string) (string, error) {
	out, err := s.Run(ctx, engine.Command{Program: "nix-store", Args: args})
	if err != nil {
		return "", fmt.Errorf("ask the store: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
