package publish

import (
	"cmp"
	"context"
	"net/url"
	"strings"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Cachix is a cache at Cachix. It implements [Cache].
type Cachix struct {
	*cachix.Client
	Source   cachix.Source      // of what is pushed
	Options  cachix.PushOptions // an empty compression is what the cache prefers
	Upstream []string           // names of keys: a path that one of them has signed is not pushed
	Keep     int                // revisions of a pin; 0 for all

	Keys         []string // that consumers trust; empty for all that the cache has
	Substituters []string // that consumers have as well

	mu       sync.Mutex
	info     *cachix.Info // the cache's answer about itself; nil before the first
	consumer *binarycache.Consumer
}

// Check tests the credential.
func (c *Cachix) Check(ctx context.Context) error {
	_, err := c.check(ctx)
	return err
}

// check returns what the cache says about itself. It asks once, if the cache answers.
func (c *Cachix) check(ctx context.Context) (cachix.Info, error) {
	c.mu.Lock()
	known := c.info
	c.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	info, err := c.Client.Check(ctx)
	if err == nil {
		c.mu.Lock()
		c.info = &info
		c.mu.Unlock()
	}
	return info, err
}

// Plan determines which objects the cache lacks.
func (c *Cachix) Plan(ctx context.Context, infos []nix.PathInfo) (cachix.Plan, error) {
	return c.Client.Plan(ctx, infos, c.Upstream)
}

// Push pushes the objects of a plan.
func (c *Cachix) Push(ctx context.Context, plan cachix.Plan, uploads *UploadLog, report func(run.PushProgress)) (run.Pushed, error) {
	info, err := c.check(ctx)
	if err != nil {
		return run.Pushed{Left: nix.PathsOf(plan.Push)}, err
	}
	options := c.Options
	options.Uploads, options.Report = uploads, report
	options.Compression = cmp.Or(options.Compression, info.Compression)
	return c.Client.Push(ctx, plan, c.Source, options)
}

// Pin pins a store path.
func (c *Cachix) Pin(ctx context.Context, name string, path nix.StorePath) error {
	return c.Client.Pin(ctx, cachix.Pin{Name: name, Path: path, Keep: c.Keep})
}

// UploadLog returns the log of a run's uploads to the cache, in the directory of its results.
func (c *Cachix) UploadLog(out *regular.Dir, run string) *UploadLog {
	return NewUploadLog(out, run, c.Destination())
}

// Consumer returns the public side of the cache. The cache states its URL.
func (c *Cachix) Consumer(ctx context.Context) (Consumer, error) {
	info, err := c.check(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.consumer != nil {
		return c.consumer, nil
	}
	trusted := c.Keys
	if len(trusted) == 0 {
		trusted = info.Keys
	}
	keys, err := binarycache.ParsePublicKeys(trusted)
	if err != nil {
		return nil, err
	}
	consumer, err := NewConsumer(info.URI, c.Substituters)
	if err != nil {
		return nil, err
	}
	consumer.Keys = keys
	c.consumer = consumer
	return consumer, nil
}

// NewConsumer returns the public side of a cache, with the other substituters of its consumers. It trusts no key.
func NewConsumer(uri string, substituters []string) (*binarycache.Consumer, error) {
	public, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	c := &binarycache.Consumer{HTTP: binarycache.NewHTTP(public)}
	for _, text := range substituters {
		if strings.TrimRight(text, "/") == strings.TrimRight(uri, "/") {
			continue
		}
		upstream, err := binarycache.OpenURL(text)
		if err != nil {
			return nil, err
		}
		c.Upstream = append(c.Upstream, upstream)
	}
	return c, nil
}
