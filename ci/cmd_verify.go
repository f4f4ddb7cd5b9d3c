package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/provenance"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const verifyManual = `Verify the provenance of a run against a binary cache or this machine's store.

PROVENANCE is the file OUT/provenance.intoto.jsonl of a run. Its outputs are looked up in the cache beside it, in
another cache (--cache), or in the store (--store). With --key, one of the keys has to have signed every statement; keys
have the form of trusted-public-keys in nix.conf. Without --key, signatures are listed and not verified: trust the
statements as much as the source of the file.

An output is ok if it has the stated NAR hash. The hash is that of the cache's or store's metadata; with --deep all
contents are read and hashed. Any other result ends with exit code 1.`

func newVerify(sys process) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify PROVENANCE",
		Short: "Verify the provenance of a run against a cache or the store",
		Long:  verifyManual,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(hint.Wrap(fmt.Errorf("%s: %d files given, want one", c.CommandPath(), len(args)),
					"for example go run ./ci verify out/%s", provenance.FileName))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), sys, args[0]) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringArrayVar(&f.keys, "key", nil, "NAME:BASE64 of a key; one of the given keys has to have signed; repeatable")
	s.StringVar(&f.cache, "cache", "", "cache to look in: a URL or a directory (default: the one beside PROVENANCE)")
	s.BoolVar(&f.store, "store", false, "look in the store of this machine's Nix")
	s.BoolVar(&f.deep, "deep", false, "read and hash everything")
	s.BoolVar(&f.json, "json", false, "JSON on standard output")
	return c
}

// verifyFlags are the command line of verify.
type verifyFlags struct {
	keys              []string
	cache             string
	store, deep, json bool
}

func (f *verifyFlags) run(ctx context.Context, sys process, file string) error {
	var keys []*provenance.PublicKey
	for _, text := range f.keys {
		key, err := provenance.ParsePublicKey(text)
		if err != nil {
			return usage(err)
		}
		keys = append(keys, key)
	}
	attestations, err := provenance.Read(regular.AnyFile(file))
	if err != nil {
		return err
	}
	holder, err := f.holder(sys, file)
	if err != nil {
		return err
	}
	v := verification{File: file, Against: holder.Name()}
	for _, a := range attestations {
		if err := v.add(ctx, a, keys, holder); err != nil {
			return fmt.Errorf("verify %s: %w", file, err)
		}
	}
	if len(v.Statements) == 0 {
		return fmt.Errorf("verify %s: %w", file, v.skipped)
	}
	show := v.print
	if f.json {
		show = v.printJSON
	}
	return errors.Join(show(sys.stdout), v.err())
}

// holder opens what the outputs are looked up in.
func (f *verifyFlags) holder(sys process, file string) (provenance.Holder, error) {
	if f.store && f.cache != "" {
		return nil, usage(errors.New("parse flags: --store and --cache exclude each other"))
	}
	if f.store {
		return provenance.Store{Runner: &host.Executor{Env: host.NixEnvironment(sys.environ)}, Deep: f.deep}, nil
	}
	if strings.Contains(f.cache, "://") {
		cache, err := binarycache.OpenURL(f.cache)
		if err != nil {
			return nil, usage(err)
		}
		return provenance.Cache{NARHasher: cache, Deep: f.deep}, nil
	}
	dir := f.cache
	if dir == "" {
		dir = filepath.Join(filepath.Dir(file), "cache")
	}
	cache, err := binarycache.OpenReadOnly(dir)
	if err != nil {
		return nil, hint.Wrap(err, "name a cache: --cache URL or --cache DIR; or look in the store: --store")
	}
	return provenance.Cache{NARHasher: cache, Deep: f.deep}, nil
}

// verification is the result for a file, as --json prints it.
type verification struct {
	File       string              `json:"file"`
	Against    string              `json:"against"`
	Good       bool                `json:"good"`
	Statements []verifiedStatement `json:"statements"`
	skipped    error               // why statements were passed over
}

type verifiedStatement struct {
	Builder string `json:"builder"`
	// Signers are the names that signatures bear, Verified those of the given keys that have really signed.
	Signers  []string         `json:"signers,omitempty"`
	Verified []string         `json:"verified,omitempty"`
	Outputs  []verifiedOutput `json:"outputs"`
}

type verifiedOutput struct {
	Path    nix.StorePath      `json:"path"`
	Verdict provenance.Verdict `json:"verdict"`
	Stated  string             `json:"stated"`
	Found   string             `json:"found,omitempty"`
	Reason  string             `json:"reason,omitempty"`
}

// add verifies one attestation. Those that are about something else are passed over, as in-toto has it.
func (v *verification) add(ctx context.Context, a *provenance.Attestation, keys []*provenance.PublicKey, h provenance.Holder) error {
	s := verifiedStatement{Signers: a.Signers()}
	// The signature goes first: of a statement that was tampered with, nothing else is worth saying.
	var signatureErr error
	if len(keys) > 0 {
		s.Verified, signatureErr = a.Verify(ctx, keys)
	}
	claim, err := a.Claim()
	if errors.Is(err, provenance.ErrOther) {
		v.skipped = errors.Join(v.skipped, err)
		return nil
	}
	if errors.Is(signatureErr, provenance.ErrNotSigned) {
		signatureErr = hint.Wrap(signatureErr, "where you trust the place that the file came from, leave out --key")
	}
	if signatureErr != nil {
		return signatureErr
	}
	if err != nil {
		return err
	}
	s.Builder = claim.Builder
	findings, err := provenance.Check(ctx, claim.Subjects, h)
	if err != nil {
		return err
	}
	for _, f := range findings {
		o := verifiedOutput{Path: f.Path, Verdict: f.Verdict, Stated: f.NARHash.SRI()}
		if !f.Found.IsZero() {
			o.Found = f.Found.SRI()
		}
		if f.Err != nil {
			o.Reason = f.Err.Error()
		}
		s.Outputs = append(s.Outputs, o)
	}
	v.Statements = append(v.Statements, s)
	v.Good = v.err() == nil
	return nil
}

// err says how many outputs are not as stated.
func (v *verification) err() error {
	all, wrong := 0, 0
	for _, s := range v.Statements {
		for _, o := range s.Outputs {
			all++
			if o.Verdict != provenance.Same {
				wrong++
			}
		}
	}
	if wrong == 0 {
		return nil
	}
	return fmt.Errorf("verify %s: %d of %d outputs are not found as stated in %s", v.File, wrong, all, v.Against)
}

func (v *verification) printJSON(w io.Writer) error { return writeJSON(w, v) }

// print writes who states what, and a line for each output. Names in a file are anybody's: control characters are left out.
func (v *verification) print(w io.Writer) error {
	t := newTable(w)
	for _, s := range v.Statements {
		t.row(fmt.Sprintf("statement of %s, %s", nix.FirstLine(nix.PlainText(s.Builder)), s.signature()))
		for _, o := range s.Outputs {
			row := []any{"  " + string(o.Verdict), o.Path}
			if o.Found != "" {
				row = append(row, o.Found+", stated is "+o.Stated)
			} else if o.Reason != "" {
				row = append(row, nix.FirstLine(nix.PlainText(o.Reason)))
			}
			t.row(row...)
		}
	}
	return t.Flush()
}

func (s *verifiedStatement) signature() string {
	names := func(list []string) string { return nix.FirstLine(nix.PlainText(strings.Join(list, ", "))) }
	switch {
	case len(s.Signers) == 0:
		return "not signed"
	case len(s.Verified) == 0:
		return fmt.Sprintf("signed by %s, not checked: no --key was given", names(s.Signers))
	default:
		return "signed by " + names(s.Verified)
	}
}
