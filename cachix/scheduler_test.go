package cachix

import (
	"errors"
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// unrelated returns objects that do not refer to each other.
func unrelated(n int) []nix.PathInfo {
	all := make([]nix.PathInfo, n)
	for i := range all {
		all[i].Path = nix.StorePath(rune('a' + i))
	}
	return all
}

// handedOut returns the ranks of all objects that the scheduler hands out without waiting.
func handedOut(s *scheduler) (ranks []int, objects []*object) {
	for o := s.pick(); o != nil; o = s.pick() {
		ranks, objects = append(ranks, o.rank), append(objects, o)
	}
	return ranks, objects
}

// NARs are read in the order of the plan, whatever the order in which their uploads have begun.
func TestSchedulerReadsInTheOrderOfThePlan(t *testing.T) {
	s := newScheduler(unrelated(5), 2)
	ranks, objects := handedOut(s)
	if want := []int{0, 1, 2, 3, 4}; !slices.Equal(ranks, want) {
		t.Fatalf("begun: %v, want %v", ranks, want)
	}
	for _, i := range []int{3, 1, 4, 0, 2} {
		s.enqueue(objects[i], toRead)
	}
	for _, want := range [][]int{{0, 1}, {2}, {3}, {4}, nil} {
		if ranks, _ := handedOut(s); !slices.Equal(ranks, want) {
			t.Errorf("read: %v, want %v", ranks, want)
		}
		s.endRead()
	}
}

// An object that is sent comes before all others, but only when its references are visible.
func TestSchedulerBlocksUntilReferencesAreVisible(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		missing bool
	}{
		"visible": {nil, false},
		"failed":  {errors.New("lost"), true},
	} {
		t.Run(name, func(t *testing.T) {
			infos := unrelated(3)
			infos[0].References = []nix.StorePath{infos[0].Path, infos[1].Path, "elsewhere"}
			s := newScheduler(infos, 1)
			referrer, reference := s.pick(), s.pick()
			s.enqueue(referrer, toComplete)
			if o := s.pick(); o.rank != 2 {
				t.Fatalf("handed out %d, whose reference is not visible", o.rank)
			}
			s.finish(reference, test.err)
			if o := s.pick(); o != referrer {
				t.Errorf("handed out %v, want the referrer", o)
			}
			if err := s.missingReference(referrer); (err != nil) != test.missing {
				t.Errorf("error %v", err)
			}
		})
	}
}

// When a push is called off, blocked objects are handed out, so that their uploads are aborted.
func TestSchedulerGivesUp(t *testing.T) {
	infos := unrelated(2)
	infos[0].References = []nix.StorePath{infos[1].Path}
	s := newScheduler(infos, 1)
	referrer, reference := s.pick(), s.pick()
	s.enqueue(referrer, toComplete)
	s.giveUp()
	if o := s.pick(); o != referrer {
		t.Errorf("handed out %v, want the referrer", o)
	}
	s.finish(referrer, errors.New("called off"))
	s.enqueue(reference, toRead)
	if o, ok := s.next(); !ok || o != reference {
		t.Errorf("handed out %v, want the last object", o)
	}
	s.finish(reference, nil)
	if o, ok := s.next(); ok {
		t.Errorf("handed out %v after the last object", o)
	}
}

// While NARs wait to be read, few further uploads begin.
func TestSchedulerBeginsAFewUploadsAhead(t *testing.T) {
	s := newScheduler(unrelated(3*pushWorkers), 0)
	for range pushWorkers {
		s.enqueue(s.pick(), toRead)
	}
	if o := s.pick(); o != nil {
		t.Errorf("began object %d, want the NARs that wait to be read first", o.rank)
	}
	s.endRead()
	first := s.pick()
	if first == nil || first.rank != 0 || first.stage != toRead {
		t.Fatalf("handed out %+v, want the first object to be read", first)
	}
	if o := s.pick(); o != nil {
		t.Errorf("began object %d, want the first object to be sent before", o.rank)
	}
	s.finish(first, nil)
	if o := s.pick(); o == nil || o.rank != pushWorkers {
		t.Errorf("handed out %+v, want the next upload", o)
	}
}
