package cachix

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// A plan has the largest objects first, without those that exist or are signed by another cache.
func TestPlan(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	there := objects.add(t, "there", []byte("there"))
	mustPush(t, objects, c, PushOptions{})
	signed := objects.add(t, "signed", []byte("signed"))
	objects.infos[1].Signatures = []string{"other-1:x", "cache.nixos.org-1:abc"}
	small := objects.add(t, "small", []byte("s"), there, signed)
	large := objects.add(t, "large", make([]byte, 1000), small)
	lookalike := objects.add(t, "lookalike", make([]byte, 200))
	objects.infos[4].Signatures = []string{"cache.nixos.org-11:abc"}

	infos := append(slices.Clone(objects.infos), objects.infos[2]) // one of them twice
	plan, err := c.Plan(t.Context(), infos, []string{"cache.nixos.org-1"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := nix.PathsOf(plan.Push), []nix.StorePath{large, lookalike, small}; !slices.Equal(got, want) {
		t.Errorf("to push %q, want %q", got, want)
	}
	if !slices.Equal(plan.There, []nix.StorePath{there}) || !slices.Equal(plan.Upstream, []nix.StorePath{signed}) || len(plan.Blocked) > 0 {
		t.Errorf("there %q, upstream %q, blocked %v", plan.There, plan.Upstream, plan.Blocked)
	}
	if want := plan.Push[0].NARSize + plan.Push[1].NARSize + plan.Push[2].NARSize; plan.Bytes != want {
		t.Errorf("%d bytes, want %d", plan.Bytes, want)
	}
	checkAfterPush(t, s, c)
}

// An object with a missing reference cannot be made visible, nor can its dependents. This is an error before the push begins.
func TestPlanBlocked(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	nowhere := nix.StorePath("/nix/store/00000000000000000000000000000000-nowhere")
	objects := new(stock)
	good := objects.add(t, "good", []byte("g"))
	blocked := objects.add(t, "blocked", []byte("b"), nowhere, good)
	above := objects.add(t, "above", []byte("a"), blocked)
	ring := objects.add(t, "ring", []byte("r"))
	other := objects.add(t, "other", []byte("o"), ring)
	objects.infos[3].References = []nix.StorePath{other}

	done, err := objects.push(t.Context(), t, c, PushOptions{})
	objects.sees(t, s, good)
	for _, path := range []nix.StorePath{blocked, above, ring, other} {
		if err == nil || !strings.Contains(err.Error(), "push "+string(path)) || !slices.Contains(done.Left, path) {
			t.Errorf("%s is not reported: left %q, %v", path, done.Left, err)
		}
	}
	var b Blocked
	if !errors.As(err, &b) || isUnavailable(err) {
		t.Errorf("error %v", err)
	}
	checkAfterPush(t, s, c)
}

// A reference that is not part of the push may be in the cache, or in an upstream cache.
func TestPlanWithReferencesElsewhere(t *testing.T) {
	base := chain(t, 1)
	s, c := newServer(t, cachixtest.Options{Upstream: func(hash string) bool { return hash == strings.Repeat("0", 32) }}, Options{})
	mustPush(t, base, c, PushOptions{})
	objects := new(stock)
	top := objects.add(t, "top", []byte("t"), nix.StorePath("/nix/store/"+strings.Repeat("0", 32)+"-upstream"), base.infos[0].Path)
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, top, base.infos[0].Path)
	if problems := s.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
}

// Paths whose names differ only by case are different paths.
func TestPlanCase(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	for _, name := range []string{"Readme", "readme", "README"} {
		objects.add(t, name, []byte("the same bytes"))
	}
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, objects.paths()...)
	checkAfterPush(t, s, c)
}

// 20,000 paths need one request. BenchmarkNothingMissing measures its time.
func TestPlanOfMany(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{Upstream: func(string) bool { return true }}, Options{})
	infos := manyInfos(20_000)
	plan, err := c.Plan(t.Context(), infos, nil)
	if err != nil || len(plan.There) != len(infos) || len(plan.Push) != 0 {
		t.Errorf("%d there, %d to push, error %v", len(plan.There), len(plan.Push), err)
	}
	if n := len(s.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// manyInfos describes objects that refer to some of the earlier ones.
func manyInfos(n int) []nix.PathInfo {
	infos := make([]nix.PathInfo, n)
	for i := range infos {
		infos[i] = nix.PathInfo{Path: nix.StorePath(fmt.Sprintf("/nix/store/%032d-x-%d", i, i)), NARSize: int64(i % 977)}
		for back := 1; back <= i && back <= 1<<12; back *= 4 {
			infos[i].References = append(infos[i].References, infos[i-back].Path)
		}
	}
	return infos
}
