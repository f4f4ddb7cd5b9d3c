package main

import (
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

func newPin(sys process) *cobra.Command {
	var p publishOptions
	c := &cobra.Command{
		Use:   "pin NAME PATH | MANIFEST",
		Short: "Protect store paths from the cache's garbage collector",
		Long:  pinManual,
		RunE: func(c *cobra.Command, args []string) error {
			err := p.check()
			if err == nil && (len(args) == 0 || len(args) > 2) {
				err = hint.Wrap(fmt.Errorf("pin: %d arguments given, want NAME and PATH, or a manifest", len(args)), "go run ./ci pin --help")
			}
			if err != nil {
				return usage(err)
			}
			sys := sys.maskSecret(p.secret)
			if _, err := sys.checkEventPolicy(""); err != nil {
				return err
			}
			return runPin(c.Context(), sys, p, args)
		},
	}
	c.Flags().SortFlags = false
	p.register(c)
	return c
}

func runPin(ctx context.Context, sys process, p publishOptions, args []string) error {
	var m *run.Manifest
	if len(args) == 1 {
		var err error
		if m, err = run.ReadManifest(args[0]); err != nil {
			return err
		}
		if err := checkManifest(ctx, sys, args[0]); err != nil {
			return err
		}
		if p.cachix == "" {
			err = p.agreeTo(cachesOf(m), args[0])
		}
		if err != nil {
			return err
		}
	}
	name := p.cacheName(defaultProject)
	credential, err := sys.secrets.credential(p.secret)
	if err == nil && credential.IsZero() {
		err = errNoSecret(p.secret)
	}
	if err != nil {
		return &publish.Error{Cache: name, Err: err}
	}
	to, err := newCachix(p, name, credential, defaultProject, nil)
	if err != nil {
		return usage(err)
	}
	defer to.Close()
	ctx, cancel := run.WithTimeout(ctx, p.timeout, "push-timeout")
	defer cancel()
	if m != nil {
		return pinManifest(ctx, sys, to, resumeCommand(filepath.Dir(args[0]), p), args[0], m)
	}
	path, err := nix.ParseStorePath(args[1])
	if err != nil {
		return usage(err)
	}
	if err := to.Pin(ctx, args[0], path); err != nil {
		return &publish.Error{Cache: name, Err: err}
	}
	fmt.Fprintln(sys.stdout, args[0])
	return nil
}

// pinManifest pins what a run has published, all of it or nothing.
func pinManifest(ctx context.Context, sys process, to *publish.Cachix, resume, file string, m *run.Manifest) error {
	for _, cell := range m.Cells {
		if cell.Publish == nil || cell.Publish.Verdict != run.Published {
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
			fmt.Fprintln(sys.stdout, name)
		}
	}
	if err != nil {
		return &publish.Error{Cache: to.Name(), Err: err}
	}
	return nil
}
