package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/outcache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// The values of --push.
const (
	pushAuto   = "auto"
	pushAlways = "always"
	pushNever  = "never"
)

const pushUnsandboxedUsage = "also push what was built without a sandbox, unless builders can change their inputs"

// publishOptions say where to push to, and how. All commands that push or pin have them.
type publishOptions struct {
	push                   string
	cachix, url, secret    string
	compression            nar.Compression // empty for what the cache prefers
	level, jobs, revisions int
	timeout, patience      time.Duration
	unsandboxed, pin       bool
}

// registerCache adds the flags that choose the cache.
func (f *publishOptions) registerCache(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.cachix, "cachix", "", "name of the Cachix cache to push to (default: the project's)")
	s.StringVar(&f.url, "cachix-url", "", "base URL of the API of Cachix (default: "+cachix.API+")")
	s.StringVar(&f.secret, "secret-env", "", "variable with the auth token or the signing key, instead of the project's; it is removed from the environment")
}

// register also adds the flags that say how to push.
func (f *publishOptions) register(c *cobra.Command) {
	f.registerCache(c)
	s := c.Flags()
	s.Var(valueOf(&f.compression, "", oneOf(nar.Zstd, nar.XZ)), "compression", "zstd or xz, for objects that are not compressed yet (default: what the cache prefers)")
	s.Var(valueOf(&f.level, "0", parseCount), "compression-level", "effort of compression: 1 to 19 for zstd, 0 to 9 for xz (default: the fastest that is not much larger)")
	s.Var(valueOf(&f.jobs, strconv.Itoa(cachix.DefaultJobs), parseCount), "push-jobs", "maximum number of open requests; fewer if the server asks for it")
	limitVar(s, &f.timeout, "push-timeout", time.Hour, "maximum time of a push, and of the pins after it; a journal keeps what is left")
	limitVar(s, &f.patience, "confirm-timeout", time.Minute, "how long to wait until consumers see more of what was pushed; 0 looks once")
	s.Var(valueOf(&f.revisions, "0", parseCount), "keep-revisions", "how many revisions of a pin to keep (default: all)")
}

// registerRun also adds the flags that only runs of the pipeline have.
func (f *publishOptions) registerRun(c *cobra.Command) {
	s := c.Flags()
	s.Var(valueOf(&f.push, pushAuto, oneOf(pushAuto, pushAlways, pushNever)), "push", "auto: if there is a secret; always: exit code 5 if nothing can be pushed; never")
	s.BoolVar(&f.pin, "pin", true, "pin the outputs of a release when all systems are published")
	s.BoolVar(&f.unsandboxed, "push-unsandboxed", false, pushUnsandboxedUsage)
	f.register(c)
}

// publisher decides whether the run pushes, and where to. Without is the reason why it has no secret, if known.
func (o options) publisher(sys process, cmd command, id string, store *outcache.Store, without string) (publish.Publisher, error) {
	if !cmd.publishes {
		return publish.Publisher{}, nil
	}
	p := publish.Publisher{
		ID: id, Record: store.Record(), From: store,
		Always: o.publish.push == pushAlways, Pins: o.publish.pin && cmd.pins, Confirm: true,
		Consent: publish.Consent{Unsandboxed: o.publish.unsandboxed, Different: o.rebuild.WarnOnly},
		Timeout: o.publish.timeout, Patience: o.publish.patience,
		Journal: publish.NewJournal(o.out, id, store.Record()), Resume: resumeCommand(o.out.Name(), o.publish),
	}
	to, disabled, err := o.publish.destination(sys, o.project, store, without)
	if p.Disabled = disabled; to != nil {
		p.To, p.Uploads = to, to.UploadLog(o.out, id)
	}
	return p, err
}

// destination returns the cache to push to, or the reason why nothing is pushed.
func (f publishOptions) destination(sys process, of project.Project, source cachix.Source, without string) (to *publish.Cachix, disabled string, err error) {
	cache := f.cacheName(of)
	credential, err := sys.secrets.credential(f.secret)
	switch {
	case f.push == pushNever:
		return nil, "--push " + pushNever, nil
	case cache == "":
		return nil, "no Cachix cache is named (--cachix NAME)", nil
	case err != nil:
		return nil, "", &publish.Error{Cache: cache, Err: err}
	case credential.IsZero():
		return nil, cmp.Or(without, "no secret: "+cmp.Or(f.secret, tokenVariable)+" is not set"), nil
	}
	to, err = newCachix(f, cache, credential, of, source)
	return to, "", usage(err)
}

// newCachix returns the cache of that name. The project's consumers trust its keys, and not those of another cache.
func newCachix(p publishOptions, name string, credential cachix.Credential, t project.Project, source cachix.Source) (*publish.Cachix, error) {
	client, err := cachix.New(name, cachix.Options{URL: p.url, Credential: credential, Jobs: p.jobs, Agent: toolName + "/" + version})
	if err != nil {
		return nil, err
	}
	c := &publish.Cachix{
		Client: client, Source: source, Options: cachix.PushOptions{Compression: p.compression, Level: p.level},
		Keep: p.revisions, Substituters: t.Substituters,
	}
	for _, key := range t.TrustedKeys {
		if key, _, _ := strings.Cut(key, ":"); !strings.HasPrefix(key, name+".") {
			c.Upstream = append(c.Upstream, key)
		}
	}
	if name == t.Cachix {
		c.Keys = t.TrustedKeys
		if t.PublicKey != "" && !slices.Contains(c.Keys, t.PublicKey) {
			c.Keys = append(slices.Clip(c.Keys), t.PublicKey)
		}
	}
	return c, nil
}

// agreeTo compares the caches that a file names with the one that may be written to: that of the command line, or else the
// project's. Anyone may have written a manifest or a journal, and the secret may be good for other caches as well.
func agreeTo(agreed string, caches []string, file string) error {
	but := "and its flake has none"
	if agreed != "" {
		but = "not " + agreed
	}
	for _, name := range caches {
		if name != agreed {
			return usage(hint.Wrap(fmt.Errorf("%s names the cache %s, %s", file, nix.FirstLine(nix.PlainText(name)), but),
				"if that is the cache you mean: --cachix %s", quote(name)))
		}
	}
	return nil
}

// cachesOf returns the caches that the runs of a manifest pushed to.
func cachesOf(m *run.Manifest) []string {
	var names []string
	for _, c := range m.Cells {
		if c.Publish != nil && c.Publish.Cache != "" {
			names = append(names, c.Publish.Cache)
		}
	}
	return names
}

// cacheName returns the Cachix cache that a run would push to; empty for none. The example goes to a server of the user
// alone, under the default project's name.
func (f publishOptions) cacheName(p project.Project) string {
	name := cmp.Or(f.cachix, p.Cachix)
	if name == "" && f.url != "" && p.Flake == exampleFlake {
		name = defaultProject.Cachix
	}
	return name
}

// errNoSecret is the error of commands that need a secret.
func errNoSecret(variable string) error {
	if variable == "" {
		return errors.New("no secret: neither " + tokenVariable + " nor " + keyVariable + " is set")
	}
	return errors.New("no secret: neither " + variable + ", " + tokenVariable + " nor " + keyVariable + " is set")
}
