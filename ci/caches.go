package main

import (
	"context"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/outcache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// openCaches opens the store in --out. It returns it with the caches whose outputs a run does not build. A run with --out,
// or of a command that exports all, does not use the public cache, so that it exports outputs of that cache too.
func openCaches(o resultOptions, p project.Project, cmd command, builds *record.Record, warn func(string)) (*outcache.Store, []pipelines.ServingCache, error) {
	if !cmd.exports && !cmd.readOnly {
		return nil, nil, tryWriting(o.out)
	}
	open := binarycache.OpenIn
	if cmd.readOnly {
		open = binarycache.OpenReadOnlyIn
	}
	var store *outcache.Store
	var caches []pipelines.ServingCache
	switch dir, err := open(o.out.Sub("cache")); {
	case err == nil:
		store = outcache.New(dir, builds, warn)
		caches = append(caches, store)
	case !cmd.readOnly:
		return nil, nil, hint.Wrap(err, "name another directory: --out DIR")
	}
	if cmd.ignoresCaches {
		return store, nil, nil
	}
	if p.ServedBy == "" || o.outGiven || cmd.exportsAll {
		return store, caches, nil
	}
	public, err := binarycache.OpenURL(p.ServedBy)
	if err != nil {
		return nil, nil, usage(err)
	}
	keys, err := binarycache.ParsePublicKeys(p.TrustedKeys)
	if err != nil {
		return nil, nil, usage(err)
	}
	return store, append(caches, binarycache.Signed{Cache: public, Keys: keys, Warn: warn}), nil
}

// signedBy returns a function that reports whether one of the keys has signed an object.
func signedBy(keys []string) (func(nix.PathInfo) bool, error) {
	trusted, err := binarycache.ParsePublicKeys(keys)
	if err != nil {
		return nil, err
	}
	return func(info nix.PathInfo) bool { return binarycache.IsSigned(info, trusted) }, nil
}

// cacheKeys returns a reader of the public keys of a cache; nil if it is not at Cachix.
func cacheKeys(public string) pipelines.CacheKeys {
	name, ok := cachix.NameOf(public)
	if !ok {
		return nil
	}
	client, err := cachix.New(name, cachix.Options{Agent: toolName + "/" + version, Attempts: 3})
	if err != nil {
		return nil
	}
	return publicKeys{client}
}

// publicKeys asks a cache for its keys. Its limit is short, because nothing that is published depends on the answer.
type publicKeys struct{ client *cachix.Client }

func (k publicKeys) PublicKeys(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.client.PublicKeys(ctx)
}

// nixSettings returns the settings of every Nix command. They replace all settings of a user or a machine that could change
// a result, run a program or publish something. The machine's own accounts, limits, disks, networks and restrictions stay.
func nixSettings(p project.Project, e engineOptions) nix.Settings {
	return nix.Settings{
		// The settings are added to the machine's own ones, because other settings of the machine can need those, such
		// as use-cgroups.
		"extra-experimental-features": "nix-command flakes",
		"accept-flake-config":         "false", // the project names the caches; the flake's settings are not used
		"substitute":                  "true",
		"substituters":                strings.Join(p.Substituters, " "),
		"trusted-public-keys":         strings.Join(p.TrustedKeys, " "),
		"builders":                    nix.FormatBuilders(e.builders),
		"max-jobs":                    e.jobs,
		"cores":                       "0",
		"keep-outputs":                "false",
		// These settings of a machine's nix.conf could change what builders or the evaluation see.
		"sandbox-build-dir": "/build",
		"pre-build-hook":    "",
		"post-build-hook":   "",
		"plugin-files":      "",
		"nix-path":          "",
		"eval-cache":        "false", // a file of the user
		// If a cache fails, the run builds.
		"fallback":                 "true",
		"connect-timeout":          "10",
		"stalled-download-timeout": "60",
		// Systems share source paths. The second one checks the lock each second, not every 5 seconds.
		"build-poll-interval": "1",
		"log-lines":           "25", // which Nix prints when a build fails
	}
}
