package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// asked is a consumer that notes what it is asked, and fetches what it may.
type asked struct {
	Consumer

	mu            sync.Mutex
	full, fetched map[nix.StorePath]int
	there         []nix.StorePath
}

func (a *asked) Name() string { return "asked" }

func (a *asked) Sees(_ context.Context, info nix.PathInfo, fetch func(int64) bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.full[info.Path]++
	if fetch != nil && fetch(info.NARSize) {
		a.fetched[info.Path]++
	}
	return nil
}

func (a *asked) Missing(_ context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	a.there = paths
	return nil, nil
}

// Outputs and what was pushed are asked for in full, and of the rest whether it is there; each once.
func TestWhatAConfirmationAsksFor(t *testing.T) {
	sum := gonix.NewHash(gonix.SHA256, make([]byte, 32))
	object := func(name string, size int64) nix.PathInfo {
		return nix.PathInfo{Path: nix.StorePath("/nix/store/00000000000000000000000000000000-" + name), NARHash: sum, NARSize: size}
	}
	output, large, pushed, old := object("output", 1000), object("large", maxSample), object("pushed", 10), object("old", 10)
	a := &asked{full: map[nix.StorePath]int{}, fetched: map[nix.StorePath]int{}}
	c := newConfirmation(a, map[nix.StorePath]string{output.Path: "an output", large.Path: "a large one"},
		map[nix.StorePath]bool{output.Path: true, pushed.Path: true}, []nix.PathInfo{output, large, pushed, old})
	c.room = maxSample - 1
	for range 2 {
		if _, err := c.look(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if want := (map[nix.StorePath]int{output.Path: 1, large.Path: 1, pushed.Path: 1}); fmt.Sprint(a.full) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", a.full, want)
	}
	if fmt.Sprint(a.fetched) != fmt.Sprint(map[nix.StorePath]int{output.Path: 1}) || fmt.Sprint(a.there) != fmt.Sprint([]nix.StorePath{old.Path}) {
		t.Errorf("fetched %v, asked whether there are %v", a.fetched, a.there)
	}
	if want := "consumers get 2 outputs, 1 fetched and hashed, and 1 other path"; c.String() != want {
		t.Errorf("%q, want %q", c, want)
	}
}

// What a consumer does not get of the closure is a failed publish, as is an output.
func TestADependencyThatConsumersDoNotGetIsNotConfirmed(t *testing.T) {
	dep := nix.PathInfo{Path: "/nix/store/00000000000000000000000000000000-dep"}
	cache := &fakeCachix{spoilt: map[nix.StorePath]error{dep.Path: errors.New("its NAR is not there")}}
	run := newFakeRun(t)
	run.publishTo(cache)
	root := nix.PathInfo{Path: "/nix/store/11111111111111111111111111111111-root", References: []nix.StorePath{dep.Path}}
	added, err := run.Republish(t.Context(), []nix.PathInfo{dep, root})
	if err == nil || !onlyPublishing(err) || !strings.Contains(err.Error(), "its NAR is not there") || len(added) != 2 {
		t.Errorf("added %v, error %v", added, err)
	}
}

// A public side that never answers, or never has more, is given up when --confirm-timeout is over.
func TestAConfirmationEndsWithItsPatience(t *testing.T) {
	object := []nix.PathInfo{{Path: "/nix/store/00000000000000000000000000000000-x"}}
	for name, cache := range map[string]*fakeCachix{
		"silent": {mute: true},
		"blind":  {blind: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := newFakeRun(t)
				run.publishTo(cache)
				run.Now = time.Now
				run.Publish.Patience = time.Minute
				started := time.Now()
				_, err := run.Republish(t.Context(), object)
				if took := time.Since(started); took > time.Minute || took < 45*time.Second {
					t.Errorf("it took %s", took)
				}
				if err == nil || !onlyPublishing(err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
