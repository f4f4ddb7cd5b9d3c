package pipelines

import (
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
)

const (
	// confirmRequests is how many objects are asked for side by side.
	confirmRequests = 16
	// maxSample bounds the NARs that are fetched to confirm one push: they are a sample, and the time for it is short.
	maxSample = 32 << 20
	// lookTimeout is for a look without patience, in which nothing is seen.
	lookTimeout = time.Minute
	// maxMisses is how many of the objects that are not seen an error names.
	maxMisses = 3
)

// confirmation is what consumers must see of a push, and how much of it they were seen to get. An object that was seen is
// not asked for again. Outputs, and all that this run has pushed, are asked for as Nix would ask; of all other objects
// of the closure it is asked whether they are there.
type confirmation struct {
	consumer Consumer
	ask      []nix.PathInfo
	there    []nix.StorePath
	outputs  map[nix.StorePath]string // what each is, as errors have it

	mu      sync.Mutex
	seen    map[nix.StorePath]bool
	fetched int   // outputs whose NARs were fetched and hashed
	room    int64 // what is left of the sample, in bytes
}

// newConfirmation takes the outputs first: they are what a consumer asks for. What is known of objects is in closure; of
// an output that an earlier run has left in a cache, that may be nothing but its path.
func newConfirmation(consumer Consumer, outputs map[nix.StorePath]string, added map[nix.StorePath]bool, closure []nix.PathInfo) *confirmation {
	c := &confirmation{consumer: consumer, outputs: outputs, seen: map[nix.StorePath]bool{}, room: maxSample}
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

// look asks for all that was not seen yet, and says whether it has seen more. Progress is called for each object.
func (c *confirmation) look(ctx context.Context, progress func()) (more bool, err error) {
	errs := make([]error, len(c.ask))
	var group errgroup.Group
	group.SetLimit(confirmRequests)
	before := len(c.seen)
	for i, info := range c.ask {
		if c.allSeen([]nix.StorePath{info.Path}) {
			continue
		}
		group.Go(func() error {
			if errs[i] = c.one(ctx, info); errs[i] == nil {
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
	missing, err := c.consumer.Missing(ctx, c.there)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("confirm %s: %s of the closure not there, such as %s", c.consumer.Name(), run.Count(len(missing), "path"), missing[0])
	}
	return more, err
}

func (c *confirmation) one(ctx context.Context, info nix.PathInfo) error {
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
	err := c.consumer.Sees(ctx, info, fetch)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.room += fetched // it is fetched again at the next look
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

// fewOf joins the first errors and says how many more there are.
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
