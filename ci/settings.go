package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// maxSettings is the maximum size of nix-release.toml and of a contract: they have some thousand bytes.
const maxSettings = 1 << 20

// readProject reads the settings of a flake from its tree. A flake without a file has those of this program for it.
func readProject(ref string, s run.Snapshot) (project.Project, error) {
	name := path.Join(s.Subdir, project.FileName)
	data, err := readTree(s, name)
	if errors.Is(err, fs.ErrNotExist) || ref == exampleFlake {
		return projectOf(ref), nil
	}
	if err != nil {
		return project.Project{}, usage(fmt.Errorf("read project %s: %w", name, err))
	}
	p, err := project.Parse(name, data)
	if err != nil {
		return project.Project{}, usage(err)
	}
	p.Flake = ref
	if err := checkValues(p); err != nil {
		return project.Project{}, usage(err)
	}
	if p.ContractFile != "" {
		file := path.Join(s.Subdir, p.ContractFile)
		if data, err = readTree(s, file); err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		} else {
			p.Contract, err = contract.Parse(file, data)
		}
		if err != nil {
			return project.Project{}, usage(p.Errorf("contract-file", err))
		}
	}
	return *p, nil
}

// checkValues checks the settings whose form other packages know. It opens nothing.
func checkValues(p *project.Project) error {
	key := func(text string) error {
		if text == none {
			return nil
		}
		_, err := binarycache.ParsePublicKeys([]string{text})
		return err
	}
	name := func(text string) error { _, err := cachix.ParseName(text); return err }
	for _, c := range []struct {
		key    string
		values []string
		check  func(string) error
	}{
		{"cachix", []string{p.Cachix}, name},
		{"public-key", []string{p.PublicKey}, key},
		{"trusted-keys", p.TrustedKeys, key},
		{"engines", p.Engines, (&engineChoice{flag: "--engine"}).Set},
	} {
		for _, value := range c.values {
			if value == "" {
				continue
			}
			if err := c.check(value); err != nil {
				return p.Errorf(c.key, err)
			}
		}
	}
	return nil
}

// readTree reads a file of a snapshot. It follows no link out of it.
func readTree(s run.Snapshot, name string) ([]byte, error) {
	root, err := regular.OpenRoot(s.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := regular.ReadIn(root, name, maxSettings)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err // without the path of the copy
	}
	return data, err
}

// settle completes the options by the settings of the project. Flags override them.
func (o *options) settle(p project.Project) error {
	o.project = p
	o.projectOptions.apply(&o.project)
	o.publish.secret = cmp.Or(o.publish.secret, p.SecretEnv)
	if p.Cachix != defaultProject.Cachix { // hints have to name another cache
		o.publish.cachix = cmp.Or(o.publish.cachix, p.Cachix)
	}
	if !o.isGiven("keep-revisions") {
		o.publish.revisions = p.KeepRevisions
	}
	if !o.chosen {
		o.systems = p.Systems
		o.everySystem = len(p.Packages) == 0 && p.Origin("systems") == "default"
	}
	o.cells = o.selection.cells(p.Packages)
	if !o.isGiven("rebuild") && o.rebuild.mode != "" && p.Rebuild != "" {
		o.rebuild.mode = p.Rebuild
	}
	return usage(cmp.Or(o.settleEngines(p), o.engineOptions.check(), o.contract.parse(p, o.packages), o.rebuild.parse(o.isGiven("rebuild"))))
}

// settleEngines takes the engines and the builders of the project, in place of those that no flag names.
func (o *options) settleEngines(p project.Project) error {
	if !o.isGiven("engine") {
		for _, text := range p.Engines {
			if err := o.engines.Set(text); err != nil {
				return p.Errorf("engines", err)
			}
		}
	}
	if !o.isGiven("builders") {
		for _, text := range p.Builders {
			builders, err := parseBuilders(text)
			if err != nil {
				return p.Errorf("builders", err)
			}
			o.builders = append(o.builders, builders...)
		}
	}
	return nil
}

// isGiven reports whether the command line has the flag.
func (o *options) isGiven(flag string) bool {
	return slices.ContainsFunc(o.given, func(f givenFlag) bool { return f.name == flag })
}

// configure reads the settings of the flake from its tree, as far as the user consents to them, and completes the options.
func (c consent) configure(ctx context.Context, o *options, tree run.Snapshot) error {
	p, err := readProject(o.project.Flake, tree)
	if err != nil {
		return err
	}
	extends := p.Extends()
	if len(extends) == 0 || isEmbedded(o.project.Flake, p.Trust) {
		return o.settle(p)
	}
	missing := slices.DeleteFunc(extends, o.overridden)
	agreed := false
	if len(missing) > 0 || o.acceptConfig {
		if agreed, err = c.agreed(ctx, o, tree, p); err != nil {
			return err
		}
	}
	if !agreed {
		p, o.leftOut = *p.WithoutTrust(), missing
		if text, advice := c.refusal(o, missing); len(missing) > 0 {
			c.notify(run.Notice{Level: run.Warning, Text: text, Hint: advice})
		}
	}
	return o.settle(p)
}

// noticeAfter is the time after which a notice says what the program does before its first step.
const noticeAfter = 2 * time.Second

// takeTree takes the tree of the flake, and completes the options by the settings that it has. The process then has their
// secret. A manifest's settings are complete. If there is no tree, the run reports why.
func (o *options) takeTree(ctx context.Context, sys *process, cmd command, c consent, src pipelines.Source) (*pipelines.Taken, error) {
	if cmd.recorded {
		return nil, nil
	}
	o.command, c.process = cmd.name, *sys
	waiting := run.Notice{Level: run.Info, Text: "taking the tree of " + shownRef(o.project.Flake)}
	timer := time.AfterFunc(noticeAfter, func() { c.notify(waiting) })
	taken := pipelines.Take(ctx, src, sys.clock())
	timer.Stop()
	if taken.Err != nil {
		return taken, o.settle(o.project)
	}
	if err := c.configure(ctx, o, taken.Snapshot); err != nil || !cmd.publishes {
		return taken, err
	}
	if _, known := sys.secrets[o.publish.secret]; known || o.publish.secret == "" {
		return taken, nil
	}
	// The secret was unknown when the event and the commit were checked.
	*sys = sys.maskSecret(o.publish.secret)
	_, err := sys.checkEventPolicy(revision(o.project.Flake, o.ref))
	if trees, ok := src.(*flake.Snapshotter); ok && err == nil && len(sys.secrets.texts()) > 0 {
		err = usage(sys.job().Trigger().AllowCommit(ctx, taken.Snapshot.Rev, trees.Reachable))
	}
	return taken, err
}

// refusal returns what a run without consent says.
func (c consent) refusal(o *options, extends []string) (text, advice string) {
	text = fmt.Sprintf("%s is used without %s: settings that extend trust need consent", project.FileName, strings.Join(extends, ", "))
	if why := c.process.job().Trigger().Stranger(); why != "" {
		return text + "; the event does not allow it: " + why, ""
	}
	return text, "to accept them: " + o.again("--accept-config")
}

// again returns the command line of this run, with one more flag.
func (o *options) again(flag string) string {
	args := []string{o.command, shownRef(o.project.Flake)}
	var names []string
	for _, f := range o.given {
		names = append(names, f.name)
	}
	return commandLine(append(append(args, o.repeat(names)...), flag)...)
}

// flagOf has the flags that override settings, where the names differ.
var flagOf = map[string]string{
	"packages": "package", "systems": "system", "contract": "contract-file", "substituters": "substituter", "trusted-keys": "trusted-key", "engines": "engine",
}

// overridden reports whether the command line has the flag that overrides a setting.
func (o *options) overridden(setting string) bool { return o.isGiven(cmp.Or(flagOf[setting], setting)) }

// settings returns the settings of the run, with the origin of each.
func (o *options) settings() []project.Setting {
	p := o.project
	p.Systems, p.KeepRevisions, p.SecretEnv, p.Rebuild = o.systems, o.publish.revisions, o.publish.secret, cmp.Or(o.rebuild.mode, p.Rebuild)
	p.Cachix = o.publish.cacheName(o.project)
	if len(o.packages) > 0 {
		p.Packages = o.packages
	}
	if o.isGiven("engine") {
		p.Engines = o.engines.texts
	}
	if o.isGiven("builders") {
		p.Builders = []string{nix.FormatBuilders(o.builders)}
	}
	withoutContract := o.contract.mode == off
	if withoutContract {
		p.ContractFile = ""
	} else {
		p.ContractFile = cmp.Or(o.contract.file, p.ContractFile)
	}
	all := p.Settings()
	for i, s := range all {
		if slices.Contains(o.leftOut, s.Name) {
			all[i].Origin += ", needs consent"
		}
		if o.overridden(s.Name) || withoutContract && strings.HasPrefix(s.Name, "contract") {
			all[i].Origin = "flag"
		}
	}
	return all
}
