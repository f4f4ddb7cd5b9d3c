package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/scaffold"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// initFiles says which files init writes.
type initFiles struct{ settings, contract, workflow bool }

func (f initFiles) any() bool { return f.settings || f.contract || f.workflow }

// path returns the path of a file in the flake's directory.
func (o *initOptions) path(name string) string { return filepath.Join(o.project.Flake, name) }

// missing finds the files that the flake lacks, and reads the settings that it has.
func (o *initOptions) missing(process process) (files initFiles, err error) {
	lacks := func(name string) bool {
		_, err := os.Lstat(o.path(name))
		if err == nil {
			fmt.Fprintf(process.stderr, "%s exists, left as it is\n", o.path(name))
		}
		return errors.Is(err, fs.ErrNotExist)
	}
	if files.settings = lacks(project.FileName); !files.settings {
		if o.existing, err = readSettings(o.path(project.FileName)); err != nil {
			return files, usage(err)
		}
		o.cells = o.selection.cells(o.existing.Packages)
	}
	named := files.settings || o.existing.ContractFile == scaffold.ContractFile
	files.contract = lacks(scaffold.ContractFile) && named && !o.noContract
	files.workflow = lacks(scaffold.WorkflowFile) && !o.noWorkflow
	if sub, ok := flake.InCheckout(o.project.Flake); files.workflow && ok && sub != "." {
		fmt.Fprintf(process.stderr, "%s is not written: GitHub reads workflows of the top directory alone\n", scaffold.WorkflowFile)
		files.workflow = false
	}
	return files, nil
}

// readSettings reads the settings that a flake has.
func readSettings(file string) (*project.Project, error) {
	data, err := regular.Read(file, maxSettings)
	if err != nil {
		return nil, err
	}
	return project.Parse(file, data)
}

// ask asks what the flags leave open.
func (o *initOptions) ask(ctx context.Context, process process, files initFiles) (_ initFiles, err error) {
	if files.settings && o.cachix == "" {
		err = process.ask(ctx, "Cachix cache to publish to (empty: none):", unlessEmpty(&o.cachix, cachix.ParseName))
		if err == nil && o.cachix != "" {
			err = process.ask(ctx, "Its public key (empty: add it later):", unlessEmpty(&o.key, parsePublicKey))
		}
		if err == nil && o.cachix != "" {
			err = process.ask(ctx, "Variable, and secret on GitHub, with its token (empty: "+scaffold.DefaultSecret+"):", unlessEmpty(&o.secret, project.ParseSecret))
		}
	}
	if err == nil && files.contract {
		files.contract, err = process.askYes(ctx, "Write a contract? The packages are built for it.")
	}
	if err == nil && files.workflow {
		files.workflow, err = process.askYes(ctx, "Write a workflow for GitHub?")
	}
	return files, err
}

// unlessEmpty returns a function that parses an answer into a variable. An empty answer changes nothing.
func unlessEmpty(to *string, parse func(string) (string, error)) func(string) error {
	return func(answer string) (err error) {
		if answer != "" {
			*to, err = parse(answer)
		}
		return err
	}
}

// newFile is a file that init writes.
type newFile struct {
	name string
	data []byte
}

// texts makes all files before one is written.
func (o *initOptions) texts(files initFiles, drafted pipelines.Drafted) (all []newFile, err error) {
	p := o.project
	if !files.settings {
		p = *o.existing
	}
	p.Systems = slices.DeleteFunc(drafted.Systems, func(s matrix.System) bool { return !slices.Contains(p.Systems, s) })
	add := func(name string, make func() ([]byte, error)) {
		data, failed := make()
		all, err = append(all, newFile{name, data}), cmp.Or(err, failed)
	}
	if files.contract {
		add(scaffold.ContractFile, func() ([]byte, error) {
			data, err := scaffold.Contract(drafted.Contract, drafted.From)
			return data, hint.Wrap(err, "without one: --no-contract")
		})
	}
	if files.settings {
		o.set(&p, files)
		add(project.FileName, func() ([]byte, error) { return scaffold.Settings(&p, thisBuild().revision()) })
	}
	if files.workflow {
		add(scaffold.WorkflowFile, func() ([]byte, error) { return scaffold.Workflow(&p, thisBuild().action()) })
	}
	return all, err
}

// set sets what the new settings have besides the flags of every run.
func (o *initOptions) set(p *project.Project, files initFiles) {
	p.Packages = o.packages
	if _, err := os.Lstat(o.path(scaffold.ContractFile)); err == nil || files.contract {
		p.ContractFile = scaffold.ContractFile
	}
	if o.cachix == "" {
		return
	}
	p.Cachix, p.PublicKey, p.SecretEnv = o.cachix, o.key, cmp.Or(o.secret, scaffold.DefaultSecret)
	if o.key != "" { // so that Nix takes what the cache has
		url := "https://" + o.cachix + ".cachix.org"
		p.Substituters, p.TrustedKeys = append(slices.Clone(p.Substituters), url), append(slices.Clone(p.TrustedKeys), o.key)
		p.ServedBy = cmp.Or(p.ServedBy, url)
	}
}

// write writes the files, and prints the next commands.
func (o *initOptions) write(process process, all []newFile) error {
	dir := regular.NewDir(o.project.Flake)
	defer dir.Close()
	var names []string
	for _, f := range all {
		err := dir.WriteNew(f.name, f.data)
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: something else wrote it in the meantime", err)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", o.path(f.name), err)
		}
		fmt.Fprintln(process.stdout, o.path(f.name))
		names = append(names, quote(f.name))
	}
	if _, ok := flake.InCheckout(o.project.Flake); ok { // Nix does not see files that Git does not track
		fmt.Fprintf(process.stderr, "next: git -C %s add %s\n", quote(o.project.Flake), strings.Join(names, " "))
	}
	fmt.Fprintf(process.stderr, "next: %s\n", hint.For(process.program, commandLine(checkCommand.name, o.project.Flake)))
	return nil
}
