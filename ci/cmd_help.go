package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// topics are texts of help about more than one command.
var topics = []struct{ name, short, long string }{
	{"contract", "The requirements of a flake", `A contract is a TOML file with the requirements of a flake: its outputs, packages, their programs and units, its module,
hashes, lock and caches. release, warm and build check it; check does it alone, and exports nothing.

  --contract-file FILE   names the contract
  --contract warn        reports failures without failing; off checks nothing
  --strict               makes each warning a failure
  init FLAKE             writes a first contract, from what the flake has today
  check --fix            corrects missing and wrong hashes of git dependencies

A check ends as PASS, FAIL, WARN or SKIP. A planned check that did not run is a failure. A failure ends the run with exit
code 4: the outputs are exported for inspection, and not published. docs/contract.md has all sections and keys.`},
	{"engines", "Where Nix runs: host and dagger", `An engine is the Nix that builds.

  host     this machine's Nix, 2.8 or newer: root, or a daemon that trusts the user
  dagger   Nix in a container of a Dagger engine, with Docker, Podman, nerdctl, Finch or Apple's container

  --engine auto              dagger if an engine or a container runtime answers, else host
  --engine SYSTEM=URL        another Dagger engine for one system
  --rebuild-on ENGINE        the engine of the second builds
  --builders 'ssh://HOST …'  Nix's remote builders

A foreign system needs a remote builder, an engine of its own, or an emulator that the kernel knows (binfmt). doctor shows
what this machine has, and doctor --fix installs what it lacks. docs/operations.md has the details.`},
	{"manifest", "The record of a run, OUT/manifest.json", `Each run writes OUT/manifest.json, also after a failure: the snapshot, the locked inputs, the settings, and for each system
the engine, the derivations, output paths, sizes, checks and failures. check writes OUT/check.json.

  reproduce MANIFEST            builds the packages of the manifest again, and compares
  compare MANIFEST MANIFEST     reports what differs between two runs
  pin MANIFEST                  pins the outputs of a published run
  report MANIFEST…              joins the manifests of several jobs
  release --since MANIFEST      shows how closures have grown

A manifest is not evidence: anyone can have written it. docs/manifest.md has all fields.`},
	{"publishing", "What is pushed to the cache, and when", `release and warm push to a Cachix cache if a secret is in the environment; release also pins the outputs, once all systems
are published. Only what this user's runs built, or what Nix fetched from a trusted cache, is pushed.

  --push auto        pushes if there is a secret; always: exit code 5 without one; never
  --cachix NAME      the cache
  --secret-env NAME  the variable with an auth token or a signing key
  push --resume      publishes what an earlier run could not
  push --from DIR    publishes a directory of results
  publish BUILD… --against REBUILD…
                     publishes what two other machines have built, if it is the same; builds nothing

Nothing is published that was built without a sandbox, from a tree with uncommitted changes, or with a second build that
differs, or that does not satisfy its contract. A failure to publish ends the run with exit code 5; the build is good.
docs/publishing.md has the details.`},
}

// newTopics returns commands that only have a help text.
func newTopics() (all []*cobra.Command) {
	for _, t := range topics {
		all = append(all, &cobra.Command{Use: t.name, Short: t.short, Long: t.long})
	}
	return all
}

// newHelp returns the command help. That of cobra succeeds with the manual if it does not know a topic.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Help about a command or a topic",
		Args:  arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			if len(args) == 0 {
				return root.Help()
			}
			about, _, err := root.Find(args)
			if err != nil || about == root {
				return unknownTopic(args[0], helped(root))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return helped(c.Root()), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// helped returns the names of the commands and topics that help lists.
func helped(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

func unknownTopic(name string, names []string) error {
	err := fmt.Errorf("unknown command or help topic %q", name)
	if near := hint.Nearest(name, names, 1); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, near[0])
	}
	return usage(hint.Wrap(err, "%s", commandLine("help")))
}
