package main

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"strings"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// publisher is a Cachix cache as a run sees it. It implements [pipelines.Publisher].
type publisher struct {
	client    *cachix.Client
	source    cachix.Source
	upstream  []string // names of the keys whose signature says that consumers get a path elsewhere
	keep      int
	options   cachix.PushOptions
	publicKey []string // those that consumers trust; empty for all that the cache has
	caches    []string // that consumers have as well
	uploads   *pipelines.UploadLog

	mu   sync.Mutex
	info *cachix.Info // what the cache says of itself, once it has answered
	// public is the public side that info names, with its connections.
	public *binarycache.Consumer
}

func newPublisher(p publishOptions, name string, credential cachix.Credential, t project.Project, source cachix.Source) (*publisher, error) {
	client, err := cachix.New(name, cachix.Options{
		URL: p.url, Credential: credential, Jobs: p.jobs, Agent: "open-sesame-ci/" + version,
	})
	if err != nil {
		return nil, err
	}
	keys := t.TrustedKeys
	if name != t.Cachix {
		keys = nil // the project's consumers are not this cache's
	}
	return &publisher{
		client: client, source: source, upstream: upstreamKeys(t, name), keep: p.revisions, publicKey: keys, caches: t.Substituters,
		options: cachix.PushOptions{Compression: p.compression, Level: p.level},
	}, nil
}

// upstreamKeys are the names of the keys of all caches that consumers have but the one that is pushed to.
func upstreamKeys(t project.Project, name string) []string {
	var names []string
	for _, key := range t.TrustedKeys {
		if key, _, _ := strings.Cut(key, ":"); !strings.HasPrefix(key, name+".") {
			names = append(names, key)
		}
	}
	return names
}

func (p *publisher) Name() string { return p.client.Name() }

func (p *publisher) Check(ctx context.Context) error {
	info, err := p.client.Check(ctx)
	if err == nil {
		p.mu.Lock()
		p.info = &info
		p.mu.Unlock()
	}
	return err
}

// known returns what the cache says of itself. It is asked, where it has not been or did not answer.
func (p *publisher) known(ctx context.Context) (cachix.Info, error) {
	p.mu.Lock()
	info := p.info
	p.mu.Unlock()
	if info == nil {
		if err := p.Check(ctx); err != nil {
			return cachix.Info{}, err
		}
		return p.known(ctx)
	}
	return *info, nil
}

func (p *publisher) Push(ctx context.Context, infos []nix.PathInfo, agree func([]nix.StorePath) error, progress func(run.PushProgress)) (run.Pushed, error) {
	info, err := p.known(ctx)
	if err != nil {
		return nothingPushed(infos), err
	}
	plan, err := p.client.Plan(ctx, infos, p.upstream)
	if err != nil {
		return nothingPushed(infos), err
	}
	if err := agree(plan.There); err != nil {
		return nothingPushed(infos), err
	}
	options := p.options
	options.Uploads, options.Report = p.uploads, progress
	options.Compression = cmp.Or(options.Compression, info.Compression)
	return p.client.Push(ctx, plan, p.source, options)
}

func nothingPushed(infos []nix.PathInfo) (pushed run.Pushed) {
	for _, info := range infos {
		pushed.Left = append(pushed.Left, info.Path)
	}
	return pushed
}

func (p *publisher) Preview(ctx context.Context, infos []nix.PathInfo) (run.PushPlan, error) {
	plan, err := p.client.Plan(ctx, infos, p.upstream)
	if err != nil {
		return run.PushPlan{}, err
	}
	preview := run.PushPlan{Cache: p.Name(), Bytes: plan.Bytes, There: len(plan.There), Upstream: len(plan.Upstream)}
	for _, info := range plan.Push {
		preview.Push = append(preview.Push, info.Path)
	}
	return preview, nil
}

func (p *publisher) AbortUploads(ctx context.Context, ids []string) (int, error) {
	return p.client.AbortUploads(ctx, ids)
}

// logUploads has the uploads of a run noted in the directory of its results.
func (p *publisher) logUploads(out *regular.Dir, run string) *pipelines.UploadLog {
	p.uploads = pipelines.NewUploadLog(out, run, p.client.Destination())
	return p.uploads
}

func (p *publisher) Pin(ctx context.Context, name string, path nix.StorePath) error {
	return p.client.Pin(ctx, cachix.Pin{Name: name, Path: path, Keep: p.keep})
}

// consumer returns the public side of the cache. Where that is, the cache says itself.
func (p *publisher) consumer() pipelines.Consumer { return (*publicSide)(p) }

// publicSide implements [pipelines.Consumer].
type publicSide publisher

func (s *publicSide) Name() string { return "the public side of " + s.client.Name() }

func (s *publicSide) open(ctx context.Context) (*binarycache.Consumer, error) {
	info, err := (*publisher)(s).known(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.public != nil {
		return s.public, nil
	}
	trusted := s.publicKey
	if len(trusted) == 0 {
		trusted = info.Keys
	}
	keys, err := binarycache.ParsePublicKeys(trusted)
	if err != nil {
		return nil, err
	}
	c, err := consumersCaches(info.URI, s.caches)
	if err != nil {
		return nil, err
	}
	c.Keys = keys
	s.public = c
	return c, nil
}

// consumersCaches are the public side of a cache, and those that its consumers have as well.
func consumersCaches(uri string, substituters []string) (*binarycache.Consumer, error) {
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

func (s *publicSide) Missing(ctx context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	c, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return c.Missing(ctx, paths)
}

func (s *publicSide) Sees(ctx context.Context, info nix.PathInfo, fetch func(int64) bool) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	return c.Sees(ctx, info, fetch)
}

// holder returns the public side of the cache, with what it holds.
func (p *publisher) holder() run.NARHasher { return (*publicSide)(p) }

// Infos wants paths that the cache's API says are there: of others the public side would go on to say that they are
// not, to consumers of what is about to be pushed.
func (s *publicSide) Infos(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	c, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return c.Infos(ctx, paths)
}

func (s *publicSide) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	return c.Dump(ctx, w, path)
}
