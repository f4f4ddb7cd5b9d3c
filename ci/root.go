package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var manual = `Build a Nix flake for release: its packages for x86_64-linux and aarch64-linux, with their tests,
in Nix containers or on this machine, into a local binary cache, with a manifest of the run.

FLAKE is a flake reference: a directory, github:owner/repo, a git URL, a tarball. The default is
` + defaultProject.Flake + `. "example" is a flake that is built into this program; it needs no network.
Another flake has the settings of its file nix-release.toml, where flags override them. Settings that extend trust
need --accept-config, or an answer on the terminal. Without a file all packages are built, and nothing is published.
The program builds what a consumer of the flake gets: the tree of the commit, and nothing else.

A run has these steps, for each system in parallel:
  snapshot    takes the exact tree of the flake with git, the same for all systems
  preflight   checks the engine, emulation, trust and the disk before anything is built
  evaluate    finds the derivations and output paths of the packages with one evaluation
  plan        asks Nix what it would build and fetch; leaves out what a cache has
  probe       builds a trivial derivation: tests the emulator, sandbox, build users and limits
  build       builds all packages with one Nix command; their tests run in checkPhase
  contract    checks the requirements of the flake: files before the build, outputs after it. An unsatisfied
              requirement ends the run with exit code 4, after the export
  rebuild     builds the packages a second time under other conditions, and compares; default of release, else with
              --rebuild. A difference ends the run with exit code 3, and nothing is pushed
  export      writes the new part of the closures to OUT/cache, a binary cache for any Nix
  push        uploads what the public cache lacks, if there is a secret; references before referrers.
              It never overwrites other contents
  confirm     reads back what was exported, and looks for what was pushed as a consumer would
  pin         pins the outputs of a release in the cache, once every system is published
  sbom        writes a bill of materials of each package
  attest      states how the outputs were made, in OUT/provenance.intoto.jsonl
  manifest    writes OUT/manifest.json: enough to repeat the run and to compare with it

Results (store paths, or JSON) go to standard output, everything else to standard error.`

const helpTail = `

Exit codes:
` + exitCodes + `
`

func newRoot(process process) *cobra.Command {
	root := &cobra.Command{
		Use:           cmp.Or(process.name, "ci"),
		Short:         "Build a Nix flake for release",
		Long:          manual,
		Version:       thisBuild().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if meant := c.SuggestionsFor(args[0]); len(meant) > 0 {
				return usage(fmt.Errorf("unknown command %q: did you mean %s?", args[0], strings.Join(meant, " or ")))
			}
			return usage(fmt.Errorf("unknown command %q", args[0]))
		},
		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE:          withTimeout,
	}
	root.SetUsageTemplate(root.UsageTemplate() + helpTail)
	root.SetFlagErrorFunc(invalidFlag)
	root.SetVersionTemplate(toolName + " {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newRelease(process),
		newWarm(process),
		newBuild(process),
		newCheck(process),
		newInit(process),
		newPush(process),
		newPin(process),
		newReport(process),
		newPublish(process),
		newPlan(process),
		newMatrix(process),
		newDemo(process),
		newDoctor(process),
		newVerify(process),
		newCompare(process),
		newReproduce(process),
		newVersion(process),
		newMan(),
	)
	root.AddCommand(newTopics()...)
	root.SetHelpCommand(newHelp())
	completeValues(root, process)
	return root
}

// timeoutFlag limits a command from its start to its end.
const timeoutFlag = "timeout"

// withTimeout gives a command with that flag a context with the limit.
func withTimeout(c *cobra.Command, _ []string) error {
	if c.Flags().Lookup(timeoutFlag) == nil {
		return nil
	}
	d, err := c.Flags().GetDuration(timeoutFlag)
	if err != nil {
		return err
	}
	ctx, cancel := run.WithTimeout(c.Context(), d, timeoutFlag)
	context.AfterFunc(c.Context(), cancel) // the process's own context outlives the command
	c.SetContext(ctx)
	return nil
}

// timedOut reports whether the limit ended a command, and not a signal.
func timedOut(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// arguments limits how many arguments a command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if n := len(args); n < least || n > most {
			_, want, _ := strings.Cut(c.Use, " ")
			return usage(hint.Wrap(fmt.Errorf("%s: %d arguments given, want %s", c.CommandPath(), n, cmp.Or(want, "none")), "%s", commandLine(c.Name(), "--help")))
		}
		return nil
	}
}
