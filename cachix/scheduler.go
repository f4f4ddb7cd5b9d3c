package cachix

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// stage is the next step of an object on its way into the cache.
type stage int

const (
	toBegin    stage = iota // begin an upload
	toRead                  // read the NAR, and send its parts
	toComplete              // complete the upload: the object becomes visible
)

// object is a store object on its way. One worker at a time uses it, apart from the fields that the scheduler guards.
type object struct {
	nix.PathInfo
	rank int // place in the plan

	stage  stage
	info   *nix.NARInfo // of file
	file   *os.File     // sent unchanged; open from toBegin until its parts are sent; nil for a NAR to compress
	read   int64        // bytes of its NAR
	upload *upload      // nil until it is begun
	packed nar.Compressed
	again  bool // a second upload was begun

	// Guarded by the scheduler.
	waits      int           // number of references in this push that are not visible yet
	missing    nix.StorePath // a reference that will never be visible
	dependents []*object     // objects that refer to this one
}

// scheduler hands out the objects of a push to workers, stage by stage. Later stages come first. Within a stage, the
// order is that of the plan: a large object whose upload takes long to begin is not read last, after all small ones.
// An object is completed only when all its references are visible. A waiting object costs a few hundred bytes and no
// goroutine.
type scheduler struct {
	mu      sync.Mutex
	changed sync.Cond
	queues  [toComplete + 1][]*object // by stage; each in the plan's order
	blocked map[*object]bool          // sent objects that wait for their references
	readers int                       // how many more NARs may be read at the same time
	active  int                       // objects that are handed out
	left    int                       // objects that are not finished
	ended   bool                      // the push was called off: nothing is blocked any more
}

func newScheduler(infos []nix.PathInfo, readers int) *scheduler {
	s := &scheduler{left: len(infos), blocked: make(map[*object]bool), readers: readers}
	s.changed.L = &s.mu
	objects := make(map[nix.StorePath]*object, len(infos))
	for i, info := range infos {
		o := &object{PathInfo: info, rank: i}
		objects[info.Path] = o
		s.queues[toBegin] = append(s.queues[toBegin], o)
	}
	for _, o := range s.queues[toBegin] {
		for _, path := range o.References { // references outside the push are visible already
			if reference := objects[path]; reference != nil && reference != o {
				o.waits++
				reference.dependents = append(reference.dependents, o)
			}
		}
	}
	return s
}

// next waits for an object to work on, and returns it. It returns false when all objects are finished.
func (s *scheduler) next() (*object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.left > 0 {
		if o := s.pick(); o != nil {
			s.changed.Signal() // there may be work for another worker
			return o, true
		}
		s.changed.Wait()
	}
	return nil, false
}

// pick takes the next object out of its queue. It returns nil if there is nothing to do at present.
func (s *scheduler) pick() *object {
	stage := toComplete
	switch {
	case len(s.queues[toComplete]) > 0:
	case len(s.queues[toRead]) > 0 && s.readers > 0:
		stage = toRead
		s.readers--
	case len(s.queues[toBegin]) > 0 && s.active+len(s.queues[toRead]) < pushWorkers:
		stage = toBegin
	default:
		return nil
	}
	queue := s.queues[stage]
	o := queue[0]
	queue[0] = nil
	s.queues[stage] = queue[1:]
	s.active++
	return o
}

// enqueue hands an object out again for a stage. An object to complete is blocked until all its references are visible.
func (s *scheduler) enqueue(o *object, next stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	o.stage = next
	if next == toComplete && o.waits > 0 && o.missing == "" && !s.ended {
		s.blocked[o] = true
		return
	}
	s.insert(o)
}

func (s *scheduler) insert(o *object) {
	queue := s.queues[o.stage]
	i, _ := slices.BinarySearchFunc(queue, o.rank, func(other *object, rank int) int { return cmp.Compare(other.rank, rank) })
	s.queues[o.stage] = slices.Insert(queue, i, o)
	s.changed.Signal()
}

// endRead lets another NAR be read. It follows each object that was handed out to be read.
func (s *scheduler) endRead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers++
	s.changed.Signal()
}

// missingReference returns an error if a reference of an object will never be visible.
func (s *scheduler) missingReference(o *object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.missing == "" {
		return nil
	}
	return fmt.Errorf("its reference %s is not there", o.missing)
}

// finish removes an object, which is visible if err is nil, and unblocks the objects that have waited for it.
func (s *scheduler) finish(o *object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.left--
	for _, d := range o.dependents {
		d.waits--
		if err != nil {
			d.missing = o.Path
		}
		if s.blocked[d] && (d.waits == 0 || err != nil) {
			delete(s.blocked, d)
			s.insert(d)
		}
	}
	if s.left == 0 {
		s.changed.Broadcast()
	}
}

// giveUp hands out all blocked objects, so that their uploads are aborted.
func (s *scheduler) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for o := range s.blocked {
		delete(s.blocked, o)
		s.insert(o)
	}
}
