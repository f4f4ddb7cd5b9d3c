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
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// openCaches opens the store of --out, and returns it with the caches whose outputs a run leaves alone. With --out, and
// a command that exports all, outputs are always exported, even if a public cache has them.
func openCaches(o options, cmd command, builds *record.Record, warn func(string)) (*outcache.Store, []pipelines.ServingCache, error) {
	if !cmd.exports && !cmd.readOnly {
		return nil, nil, tryWriting(o.out) // what a cache serves is looked into as well, and nothing is exported
	}
	var store *outcache.Store
	var caches []pipelines.ServingCache
	dir := o.out.Sub("cache")
	if cmd.readOnly {
		if d, err := binarycache.OpenReadOnlyIn(dir); err == nil {
			store = outcache.New(d, builds, warn)
			caches = append(caches, store)
		}
	} else {
		d, err := binarycache.OpenIn(dir)
		if err != nil {
			return nil, nil, hint.Wrap(err, "name another directory: --out DIR")
		}
		store = outcache.New(d, builds, warn)
		caches = append(caches, store)
	}
	if cmd.ignoresCaches {
		return store, nil, nil // what any cache serves is built all the same
	}
	if o.project.ServedBy == "" || o.outGiven || cmd.exportsAll {
		return store, caches, nil
	}
	public, err := binarycache.OpenURL(o.project.ServedBy)
	if err != nil {
		return nil, nil, usage(err)
	}
	keys, err := binarycache.ParsePublicKeys(o.project.TrustedKeys)
	if err != nil {
		return nil, nil, usage(err)
	}
	return store, append(caches, binarycache.Signed{Cache: public, Keys: keys, Warn: warn}), nil
}

// cacheKeys returns a reader of the public keys of the cache that consumers use; nil if it is not at Cachix.
func cacheKeys(public string) pipelines.CacheKeys {
	name, ok := cachix.NameOf(public)
	if !ok {
		return nil
	}
	// Without a network the request fails at once.
	client, err := cachix.New(name, cachix.Options{Agent: "open-sesame-ci/" + version, Attempts: 3})
	if err != nil {
		return nil
	}
	return publicKeys{client}
}

// publicKeys asks a cache for its keys. It does not wait long, because nothing that is published depends on the answer.
type publicKeys struct{ client *cachix.Client }

func (k publicKeys) PublicKeys(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return k.client.PublicKeys(ctx)
}

// nixSettings are the settings of every command of Nix. They name all that could let this machine into a result, run
// a program of its owner's or publish by itself, so that a user's or a machine's own settings do not. Accounts, limits,
// disks, networks and what the owner restricts stay the machine's.
func nixSettings(o options) nix.Settings {
	return nix.Settings{
		// Added to the machine's own, on which settings of its owner's may depend, such as use-cgroups.
		"extra-experimental-features": "nix-command flakes",
		"accept-flake-config":         "false", // the project names the caches; other settings of the flake are not granted
		"substitute":                  "true",
		"substituters":                strings.Join(o.project.Substituters, " "),
		"trusted-public-keys":         strings.Join(o.project.TrustedKeys, " "),
		"builders":                    nix.FormatBuilders(o.builders),
		"max-jobs":                    o.jobs.setting(),
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
		// The tail of a log is ours to show.
		"log-lines": "25",
	}
}
