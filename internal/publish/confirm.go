package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const (
	// confirmRequests is how many objects are asked for at the same time.
	confirmRequests = 16
	// maxSample limits the NARs that are fetched to confirm one push.
	maxSample = 32 << 20
	// queryTimeout limits the only query if there is no patience.
	queryTimeout = time.Minute
	// maxMisses is how many missing objects an error names.
	maxMisses = 3
)

// ConfirmCell asks consumers' side of the cache for the closure of a published cell, and sets the visibility of each
// package. It returns the result in a few words.
func (p *Publisher) ConfirmCell(ctx context.Context, result *run.CellResult, closure []nix.PathInfo) (string, error) {
	outputs := map[nix.StorePath]string{}
	for _, pkg := range result.Packages {
		if pkg.Verdict == run.Failed {
			continue
		}
		for _, path := range pkg.OutputPaths() {
			outputs[path] = fmt.Sprintf("%s of %s", pkg.Package, result.System)
		}
	}
	c := newConfirmation(result.System, outputs, result.Publish.AddedPaths, closure)
	err := p.confirm(ctx, c)
	for i := range result.Packages {
		switch pkg := &result.Packages[i]; {
		case pkg.Verdict == run.Failed:
		case c.allSeen(pkg.OutputPaths()):
			pkg.Consumer = run.Visible
		default:
			pkg.Consumer = run.NotVisible
		}
	}
	if err != nil {
		result.Publish.Verdict, result.Publish.Reason = run.Unconfirmed, nix.FirstLine(err.Error())
		return "", err
	}
	return c.String(), nil
}

// confirm asks until consumers get everything. Its error is an [*Error], or that of an interrupted run.
func (p *Publisher) confirm(ctx context.Context, c *confirmation) error {
	limited, stop := run.WithTimeout(ctx, p.Timeout, "push-timeout")
	defer stop()
	consumer, err := p.To.Consumer(limited)
	if err == nil {
		err = p.untilSeen(limited, consumer, c)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return p.Error(c.system, err)
	}
	return nil
}

// untilSeen asks again until everything is seen, or nothing more is seen for as long as Patience. Without patience it
// asks once.
func (p *Publisher) untilSeen(ctx context.Context, consumer Consumer, c *confirmation) error {
	patience := cmp.Or(p.Patience, queryTimeout)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing more was seen for %s (--confirm-timeout)", patience)) })
	defer timer.Stop()
	var last error // of a complete query
	for since, pause := p.Now(), time.Second; ; pause = min(2*pause, 10*time.Second) {
		more, err := c.query(ctx, consumer, func() { timer.Reset(patience) })
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(last, fmt.Errorf("confirm %s: %w", consumer.Name(), context.Cause(ctx)))
		}
		last = err
		if more {
			since, pause = p.Now(), time.Second
		}
		if p.Now().Add(pause).After(since.Add(p.Patience)) {
			return err
		}
		_ = run.Sleep(ctx, pause) // the next query ends if ctx is done
	}
}

// confirmation has the objects that consumers must get, and those that they already get. An object that was seen is not
// asked for again. Outputs and pushed objects are fetched as Nix would; other objects of the closure only have to be
// there.
type confirmation struct {
	system  matrix.System // empty for a push without a system
	ask     []nix.PathInfo
	there   []nix.StorePath
	outputs map[nix.StorePath]string // their names in errors

	mu      sync.Mutex
	seen    map[nix.StorePath]bool
	fetched int   // number of outputs whose NARs were fetched and hashed
	room    int64 // the rest of the sample in bytes
}

// newConfirmation asks for the outputs first. An output that is not in closure, because an earlier run has pushed it, is
// known only by its path.
func newConfirmation(system matrix.System, outputs map[nix.StorePath]string, added map[nix.StorePath]bool, closure []nix.PathInfo) *confirmation {
	c := &confirmation{system: system, outputs: outputs, seen: map[nix.StorePath]bool{}, room: maxSample}
	known := make(map[nix.StorePath]nix.PathInfo, len(closure))
	for _, info := range closure {
		known[info.Path] = info
	}
	for _, path := range slices.Sorted(maps.Keys(outputs)) {
		info, ok := known[path]
		if !ok {
			info = nix.PathInfo{Path: path}
		}
		c.ask = append(c.ask, info)
	}
	for _, info := range closure {
		switch _, isOutput := outputs[info.Path]; {
		case isOutput:
		case added[info.Path]:
			c.ask = append(c.ask, info)
		default:
			c.there = append(c.there, info.Path)
		}
	}
	return c
}

// query asks for all objects that were not seen yet, and returns whether it has seen more. It calls progress for each.
func (c *confirmation) query(ctx context.Context, consumer Consumer, progress func()) (more bool, err error) {
	errs := make([]error, len(c.ask))
	var group errgroup.Group
	group.SetLimit(confirmRequests)
	before := len(c.seen)
	for i, info := range c.ask {
		if c.allSeen([]nix.StorePath{info.Path}) {
			continue
		}
		group.Go(func() error {
			if errs[i] = c.one(ctx, consumer, info); errs[i] == nil {
				progress()
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs, in order
	more = len(c.seen) > before
	if err := fewOf(errs); err != nil {
		return more, err
	}
	missing, err := consumer.Missing(ctx, c.there)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("confirm %s: %s of the closure not there, such as %s", consumer.Name(), run.Count(len(missing), "path"), missing[0])
	}
	return more, err
}

func (c *confirmation) one(ctx context.Context, consumer Consumer, info nix.PathInfo) error {
	var fetched int64
	fetch := func(narBytes int64) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if narBytes > c.room {
			return false
		}
		fetched = narBytes
		c.room -= narBytes
		return true
	}
	name, isOutput := c.outputs[info.Path]
	if !isOutput {
		name, fetch = "the closure", nil
	}
	err := consumer.Sees(ctx, info, fetch)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.room += fetched // the next query fetches it again
		return fmt.Errorf("confirm %s: %w", name, err)
	}
	c.seen[info.Path] = true
	if fetched > 0 {
		c.fetched++
	}
	return nil
}

func (c *confirmation) allSeen(paths []nix.StorePath) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, path := range paths {
		if !c.seen[path] {
			return false
		}
	}
	return true
}

func (c *confirmation) String() string {
	text := "consumers get " + run.Count(len(c.outputs), "output")
	if c.fetched > 0 {
		text += fmt.Sprintf(", %d fetched and hashed", c.fetched)
	}
	if pushed := len(c.ask) - len(c.outputs); pushed > 0 {
		text += ", and " + run.Count(pushed, "other path")
	}
	return text
}

// fewOf joins the first errors, and counts the others.
func fewOf(errs []error) error {
	var few []error
	more := 0
	for _, err := range errs {
		switch {
		case err == nil:
		case len(few) < maxMisses:
			few = append(few, err)
		default:
			more++
		}
	}
	if more > 0 {
		few = append(few, fmt.Errorf("confirm: %s more not seen", run.Count(more, "path")))
	}
	return errors.Join(few...)
}
