package main

import (
	"cmp"
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
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

const verifyManual = `Verify the provenance of a run against a binary cache or this machine's store.

PROVENANCE is the file OUT/provenance.intoto.jsonl of a run. Its outputs are looked up in the cache beside it, in
another cache (--cache), or in the store (--store). With --key, one of the keys has to have signed every statement; keys
have the form of trusted-public-keys in nix.conf. Without --key, signatures are listed and not verified: trust the
statements as much as the source of the file.

PROVENANCE can also be GitHub's attestation of the outputs: a bundle of Sigstore, as gh attestation download writes it.
Then --trusted-root and --repo are required, and the workflow that has signed is one of that repository, or
--signer-workflow. "gh attestation trusted-root" writes the trusted root; verify itself downloads nothing.

An output is ok if it has the stated NAR hash. The hash is that of the cache's or store's metadata; with --deep all
contents are read and hashed. Any other result ends with exit code 1.`

// verifyOptions is the command line of verify.
type verifyOptions struct {
	keys              []string
	cache             string
	store, deep, json bool
	// of GitHub's attestations
	trustedRoot, repo, workflow string
}

func newVerify(process process) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify PROVENANCE",
		Short: "Verify the provenance of a run against a cache or the store",
		Long:  verifyManual,
		Args:  arguments(1, 1),
		RunE:  func(c *cobra.Command, args []string) error { return o.run(c.Context(), process, args[0]) },
	}
	s := c.Flags()
	s.SortFlags = false
	s.StringArrayVar(&o.keys, "key", nil, "NAME:BASE64 of a key; one of the given keys has to have signed; repeatable")
	s.StringVar(&o.trustedRoot, "trusted-root", "", "file with the trusted roots of Sigstore, for an attestation of GitHub")
	s.StringVar(&o.repo, "repo", "", "OWNER/NAME: the repository on GitHub whose workflow run has to have signed")
	s.StringVar(&o.workflow, "signer-workflow", "", "OWNER/NAME/.github/workflows/FILE that has to have signed (default: any of --repo)")
	s.StringVar(&o.cache, "cache", "", "cache to look in: a URL or a directory (default: the one beside PROVENANCE)")
	s.BoolVar(&o.store, "store", false, "look in the store of this machine's Nix")
	s.BoolVar(&o.deep, "deep", false, "read and hash everything")
	s.BoolVar(&o.json, "json", false, "JSON on standard output")
	return c
}

func (o *verifyOptions) run(ctx context.Context, process process, file string) error {
	trust, err := o.trust()
	if err != nil {
		return err
	}
	attestations, err := provenance.Read(regular.AnyFile(file))
	if err != nil {
		return err
	}
	holder, err := o.holder(process, file)
	if err != nil {
		return err
	}
	v := verification{File: file, Against: holder.Name()}
	for _, a := range attestations {
		if err := v.add(ctx, a, trust, holder); err != nil {
			return fmt.Errorf("verify %s: %w", file, err)
		}
	}
	if len(v.Statements) == 0 {
		return fmt.Errorf("verify %s: %w", file, v.skipped)
	}
	v.Good = v.err() == nil
	if o.json {
		err = report.WriteJSON(process.stdout, v)
	} else {
		err = v.print(process.stdout)
	}
	return errors.Join(err, v.err())
}

// trust reads who may sign. The keys are no typed flags: the error of a flag shows its value, which may be a secret key by
// mistake.
func (o *verifyOptions) trust() (t provenance.Trust, err error) {
	for _, text := range o.keys {
		key, err := provenance.ParsePublicKey(text)
		if err != nil {
			return t, usage(err)
		}
		t.Keys = append(t.Keys, key)
	}
	if o.trustedRoot == "" && o.repo == "" && o.workflow == "" {
		return t, nil
	}
	if o.repo == "" {
		return t, usage(errors.New("parse flags: --trusted-root and --signer-workflow need --repo OWNER/NAME"))
	}
	if o.trustedRoot == "" {
		return t, usage(hint.Wrap(errors.New("parse flags: --repo needs --trusted-root FILE"), "gh attestation trusted-root >FILE"))
	}
	if t.GitHub, err = provenance.ParseGitHub(o.repo, o.workflow); err != nil {
		return t, usage(err)
	}
	return t, t.GitHub.Trust(regular.AnyFile(o.trustedRoot))
}

// holder opens the cache or store in which the outputs are looked up.
func (o *verifyOptions) holder(process process, file string) (provenance.Holder, error) {
	if o.store && o.cache != "" {
		return nil, usage(errors.New("parse flags: --store and --cache exclude each other"))
	}
	if o.store {
		return provenance.Store{Runner: &host.Executor{Env: host.NixEnvironment(process.environ)}, Deep: o.deep}, nil
	}
	if strings.Contains(o.cache, "://") {
		cache, err := binarycache.OpenURL(o.cache)
		return provenance.Cache{NARHasher: cache, Deep: o.deep}, usage(err)
	}
	cache, err := binarycache.OpenReadOnly(cmp.Or(o.cache, filepath.Join(filepath.Dir(file), "cache")))
	return provenance.Cache{NARHasher: cache, Deep: o.deep}, hint.Wrap(err, "name a cache: --cache URL or --cache DIR; or look in the store: --store")
}

// verification is the result for a file, as --json prints it.
type verification struct {
	File       string              `json:"file"`
	Against    string              `json:"against"`
	Good       bool                `json:"good"`
	Statements []verifiedStatement `json:"statements"`
	skipped    error               // why statements were left out
}

type verifiedStatement struct {
	Builder string `json:"builder"`
	// Signers are the key names in the signatures, Verified those of the given keys that have signed.
	Signers  []string             `json:"signers,omitempty"`
	Verified []string             `json:"verified,omitempty"`
	Outputs  []provenance.Finding `json:"outputs"`
}

// add verifies one attestation. Statements of other types are left out, as in-toto requires.
func (v *verification) add(ctx context.Context, a *provenance.Attestation, trust provenance.Trust, h provenance.Holder) error {
	s := verifiedStatement{Signers: a.Signers()}
	var signatureErr error
	s.Verified, signatureErr = trust.Verify(ctx, a)
	claim, err := a.Claim()
	switch {
	case errors.Is(err, provenance.ErrOther):
		v.skipped = errors.Join(v.skipped, err)
		return nil
	case errors.Is(signatureErr, provenance.ErrNotSigned):
		return hint.Wrap(signatureErr, "if you trust the source of the file, leave out --key")
	case signatureErr != nil: // the statement may have been changed, so its other errors do not matter
		return signatureErr
	case err != nil:
		return err
	}
	s.Builder = claim.Builder
	s.Outputs, err = provenance.Check(ctx, claim.Subjects, h)
	v.Statements = append(v.Statements, s)
	return err
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

// print writes the builder and signature of each statement, and a line for each output. The texts are from a stranger's
// file, so control characters are removed.
func (v *verification) print(w io.Writer) error {
	t := newTable(w)
	for _, s := range v.Statements {
		t.row(fmt.Sprintf("statement of %s, %s", oneLine(s.Builder), s.signature()))
		for _, o := range s.Outputs {
			row := []any{"  " + string(o.Verdict), o.Path}
			if o.Found != "" {
				row = append(row, o.Found+", stated is "+o.Stated)
			} else if o.Reason != "" {
				row = append(row, oneLine(o.Reason))
			}
			t.row(row...)
		}
	}
	return t.Flush()
}

func oneLine(text string) string { return nix.FirstLine(nix.PlainText(text)) }

func (s *verifiedStatement) signature() string {
	switch {
	case len(s.Verified) > 0:
		return "signed by " + oneLine(strings.Join(s.Verified, ", "))
	case len(s.Signers) == 0:
		return "not signed"
	}
	return fmt.Sprintf("signed by %s, not checked: no --key was given", oneLine(strings.Join(s.Signers, ", ")))
}
