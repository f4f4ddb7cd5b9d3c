package publish

import (
	"context"
	"fmt"
	"sync"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// asked is a consumer that records the queries, and what was fetched.
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

// Outputs and pushed objects are fetched, and for the rest only the narinfo; each once.
func TestQueriesOfAConfirmation(t *testing.T) {
	sum := gonix.NewHash(gonix.SHA256, make([]byte, 32))
	object := func(name string, size int64) nix.PathInfo {
		return nix.PathInfo{Path: nix.StorePath("/nix/store/00000000000000000000000000000000-" + name), NARHash: sum, NARSize: size}
	}
	output, large, pushed, old := object("output", 1000), object("large", maxSample), object("pushed", 10), object("old", 10)
	a := &asked{full: map[nix.StorePath]int{}, fetched: map[nix.StorePath]int{}}
	c := newConfirmation("", map[nix.StorePath]string{output.Path: "an output", large.Path: "a large one"},
		map[nix.StorePath]bool{output.Path: true, pushed.Path: true}, []nix.PathInfo{output, large, pushed, old})
	c.room = maxSample - 1
	for range 2 {
		if _, err := c.query(t.Context(), a, func() {}); err != nil {
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
