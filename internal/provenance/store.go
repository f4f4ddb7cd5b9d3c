package provenance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

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
