package cachix

import (
	"fmt"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// object is a store object on its way. But for what the order guards, it is in the hands of one worker at a time.
type object struct {
	nix.PathInfo
	rank int // place in the plan

	read   int64   // bytes of its NAR
	upload *upload // nil until it is begun
	packed binarycache.Packed
	again  bool // a second upload was begun

	// Guarded by the order.
	waits      int           // for so many of its references, as far as they are part of the push
	missing    nix.StorePath // a reference that will not be there
	dependents []*object     // that wait for it
}

// order hands out the objects of a push: those that can be made visible first, then those that are still to be sent, in
// the plan's order. An object that is sent is held back until all that it refers to is visible.
// What waits costs a few hundred bytes and nobody's time, so that there may be many.
type order struct {
	mu      sync.Mutex
	changed sync.Cond
	todo    []*object        // still to be handed out for the first time
	ready   []*object        // sent, with nothing to wait for any more
	parked  map[*object]bool // sent, and waiting
	left    int              // that are not over
	ended   bool             // nobody is to wait any more
}

func newOrder(infos []nix.PathInfo) *order {
	r := &order{todo: make([]*object, len(infos)), left: len(infos), parked: make(map[*object]bool)}
	r.changed.L = &r.mu
	objects := make(map[nix.StorePath]*object, len(infos))
	for i, info := range infos {
		r.todo[i] = &object{PathInfo: info, rank: i}
		objects[info.Path] = r.todo[i]
	}
	for _, o := range r.todo {
		for _, path := range o.References { // what is not part of the push was there before
			if reference := objects[path]; reference != nil && reference != o {
				o.waits++
				reference.dependents = append(reference.dependents, o)
			}
		}
	}
	return r
}

// next returns an object to work on, and waits until there is one. It is false when all are over.
func (r *order) next() (*object, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ready)+len(r.todo) == 0 && r.left > 0 {
		r.changed.Wait()
	}
	list := &r.ready
	if len(r.ready) == 0 {
		list = &r.todo
	}
	if len(*list) == 0 {
		return nil, false
	}
	o := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return o, true
}

// wait says whether an object has to wait for others. It is handed out again when it need not.
func (r *order) wait(o *object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.waits == 0 || o.missing != "" || r.ended {
		return false
	}
	r.parked[o] = true
	return true
}

// lost is an error where a reference of an object will not be there.
func (r *order) lost(o *object) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.missing == "" {
		return nil
	}
	return fmt.Errorf("its reference %s is not there", o.missing)
}

// over ends an object, which is visible if there is no error, and lets those go on that have waited for it.
func (r *order) over(o *object, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left--
	for _, d := range o.dependents {
		d.waits--
		if err != nil {
			d.missing = o.Path
		}
		if r.parked[d] && (d.waits == 0 || err != nil) {
			r.unpark(d)
		}
	}
	if r.left == 0 {
		r.changed.Broadcast()
	}
}

// giveUp hands out all that waits: what was begun has to be taken back.
func (r *order) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for o := range r.parked {
		r.unpark(o)
	}
}

func (r *order) unpark(o *object) {
	delete(r.parked, o)
	r.ready = append(r.ready, o)
	r.changed.Signal()
}
