package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
	"github.com/scopecreep-zip/open-sesame-ci/internal/workdir"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// flagWords are the values of flags that shells complete, by the name of the flag.
var flagWords = map[string][]string{
	"compression": {string(nar.Zstd), string(nar.XZ)},
	"contract":    {enforce, warn, off},
	"engine":      {engineAuto, engineDagger, engineHost},
	"jobs-result": {jobSuccess, jobFailure, jobCancelled, jobSkipped},
	"push":        {pushAuto, pushAlways, pushNever},
	"rebuild":     {enforce, warn, off},
	"rebuild-on":  {engineDagger, engineHost},
	"system":      systemNames(),
}

func systemNames() (names []string) {
	for _, s := range matrix.Systems() {
		names = append(names, string(s))
	}
	return names
}

// completeValues makes shells complete the values of flags, and the built-in flake. Files they complete by themselves.
func completeValues(root *cobra.Command, sys process) {
	fixed := func(words ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	}
	for _, c := range root.Commands() {
		if strings.Contains(c.Use, "[FLAKE]") {
			c.ValidArgsFunction = cobra.FixedCompletions([]string{exampleFlake}, cobra.ShellCompDirectiveDefault)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			var complete cobra.CompletionFunc
			switch words := flagWords[f.Name]; {
			case words != nil:
				complete = fixed(words...)
			case f.Value.Type() == "bool":
				complete = fixed("true", "false")
			case f.Name == "package":
				complete = completePackages(sys)
			default:
				return
			}
			if err := c.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
				panic(err) // the flag exists, and is registered once
			}
		})
	}
}

// completionTime is how long a user waits for the completion of packages. Then there is none.
const completionTime = 2 * time.Second

// completePackages completes packages of the flake that the command line names.
func completePackages(sys process) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ref := defaultProject.Flake
		if len(args) > 0 {
			ref = args[0]
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		names, err := packageNames(ctx, sys, ref)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
		}
		return shellWords(names), cobra.ShellCompDirectiveNoFileComp
	}
}

var shellWord = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// shellWords returns the names that a shell does not change. bash expands the words that it completes: it would run what
// a name such as $(…) has in it.
func shellWords(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !shellWord.MatchString(name) })
}

// packageNames returns the packages of the default flake, the example, or a flake in a directory.
func packageNames(ctx context.Context, sys process, ref string) (names []string, err error) {
	if ref == defaultProject.Flake || ref == exampleFlake {
		for _, p := range defaultProject.Packages {
			names = append(names, string(p))
		}
		return names, nil
	}
	parsed, err := flake.ParseRef(ref)
	if err != nil || parsed.Kind != flake.KindLocal {
		return nil, err
	}
	work, err := workdir.Make(environment(sys.environ).get("TMPDIR"), "completion")
	if err != nil {
		return nil, err
	}
	defer work.Remove()
	environ := append(slices.Clone(sys.environ), offline...)
	snapshot := &flake.Snapshotter{
		Ref: parsed, Dir: work.Path, Env: append(host.Environment(environ), "GIT_ALLOW_PROTOCOL=file"), Results: []string{"out"},
	}
	tree, err := snapshot.Snapshot(ctx)
	if err != nil || tree.Subdir != "" { // Nix 2.8 reads no flake in a subdirectory of a path
		return nil, err
	}
	return evaluateNames(ctx, environ, tree)
}

// offline are variables that keep fetchers from the network: no proxy listens there. See also [evaluateNames].
var offline = []string{
	"https_proxy=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "all_proxy=http://127.0.0.1:1", "ALL_PROXY=http://127.0.0.1:1",
	"no_proxy=", "NO_PROXY=",
}

// evaluateNames evaluates the names of the packages for this machine. It builds and fetches nothing: inputs have to be in
// the store.
func evaluateNames(ctx context.Context, environ []string, tree flake.Snapshot) (names []string, err error) {
	system, err := setup.NativeSystem()
	if err != nil {
		return nil, err
	}
	x, err := host.Open(ctx, host.Options{System: system, Settings: nixSettings(project.Project{}, engineOptions{}), Env: environ})
	if err != nil {
		return nil, err
	}
	defer x.Close()
	x.Env = append(x.Env, "GIT_SSH_COMMAND=false") // a program that fails
	dir, err := x.AddPath(ctx, tree.Dir)
	if err != nil {
		return nil, err
	}
	ref := url.Values{"lastModified": {fmt.Sprint(tree.LastModified)}, "narHash": {tree.NARHash}}
	out, err := x.Run(ctx, engine.Command{
		Program: "nix",
		Args: []string{
			"eval", "--json", "--offline", "--no-write-lock-file", "--no-update-lock-file", "--apply", "builtins.attrNames",
			"path:" + (&url.URL{Path: dir}).EscapedPath() + "?" + ref.Encode() + "#packages." + string(system),
		},
		Settings: nix.Settings{"allow-import-from-derivation": "false", "builders": "", "max-jobs": "0", "substitute": "false"},
	})
	if err != nil {
		return nil, err
	}
	return names, json.Unmarshal(out, &names)
}
