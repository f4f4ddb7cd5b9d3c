package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

const pinManual = `Protect store paths of the cache from its garbage collector.

  pin NAME PATH    one store path, under a name
  pin MANIFEST     the outputs of a run, each as <package>-<system>; all its cells have to be good and published.
                   --cachix has to name the cache if the run was published to another one than the project's

If a pin of the name exists, it gets a new revision. Pinning needs an auth token.`

func newPin(process process) *cobra.Command {
	var p publishOptions
	c := &cobra.Command{
		Use:   "pin NAME PATH | MANIFEST",
		Short: "Protect store paths from the cache's garbage collector",
		Long:  pinManual,
		Args:  arguments(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			process := process.maskSecret(p.secret)
			if _, err := process.checkEventPolicy(""); err != nil {
				return err
			}
			return runPin(c.Context(), process, p, args)
		},
	}
	c.Flags().SortFlags = false
	p.register(c)
	return c
}

func runPin(ctx context.Context, process process, p publishOptions, args []string) error {
	var m *run.Manifest
	of := defaultProject
	if len(args) == 1 {
		var err error
		if m, err = run.ReadManifest(args[0]); err != nil {
			return err
		}
		of = projectOfManifest(m)
		if err := checkManifest(ctx, process, args[0]); err != nil {
			return err
		}
		if p.cachix == "" {
			if err := agreeTo(p.cacheName(of), cachesOf(m), args[0]); err != nil {
				return err
			}
		}
	}
	name := p.cacheName(of)
	p.secret = cmp.Or(p.secret, of.SecretEnv)
	if name == "" {
		return usage(hint.Wrap(fmt.Errorf("pin outputs of %s: no Cachix cache is named", args[0]), "name it: --cachix NAME"))
	}
	credential, err := process.credential(p, name, true)
	if err != nil {
		return err
	}
	to, err := newCachix(p, name, credential, of, nil)
	if err != nil {
		return usage(err)
	}
	defer to.Close()
	ctx, cancel := run.WithTimeout(ctx, p.timeout, "push-timeout")
	defer cancel()
	if m != nil {
		return pinManifest(ctx, process, to, resumeCommand(filepath.Dir(args[0]), p), args[0], m)
	}
	path, err := nix.ParseStorePath(args[1])
	if err != nil {
		return usage(err)
	}
	if err := to.Pin(ctx, args[0], path); err != nil {
		return &publish.Error{Cache: name, Err: err}
	}
	fmt.Fprintln(process.stdout, args[0])
	return nil
}

// pinManifest pins the outputs of a run if all of them are published.
func pinManifest(ctx context.Context, process process, to *publish.Cachix, resume, file string, m *run.Manifest) error {
	for _, cell := range m.Cells {
		if !isPublished(cell) {
			return hint.Wrap(fmt.Errorf("pin outputs of %s: those of %s are not published", file, cell.System), "%s", resume)
		}
		for _, p := range cell.Packages {
			if p.Verdict == run.Failed {
				return fmt.Errorf("pin outputs of %s: package %s failed on %s", file, p.Package, cell.System)
			}
		}
	}
	_, err := publish.PinCells(ctx, to, m.Cells)
	for _, cell := range m.Cells {
		for _, name := range cell.Publish.Pins {
			fmt.Fprintln(process.stdout, name)
		}
	}
	if err != nil {
		return &publish.Error{Cache: to.Name(), Err: err}
	}
	return nil
}
