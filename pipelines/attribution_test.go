package pipelines

import (
	"fmt"
	"testing"
	"time"
)

// Counts are matched with builds in little time, even where thousands of them can be about any of thousands of builds.
func TestThousandsOfOpenBuildsAreMatchedFast(t *testing.T) {
	const builds = 3000
	_, log := newReplay(t)
	feed(t, log, `@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}`+"\n")
	started := time.Now()
	for i := range builds + 1 { // the first one goes on
		feed(t, log, fmt.Sprintf(`@nix {"action":"start","fields":["/nix/store/12jhkv0cgfm8d60n9vmx1q25cns%05d-x.drv","",1,1],"id":%d,"level":3,"parent":0,"text":"","type":105}`+"\n", i, i+2))
		feed(t, log, fmt.Sprintf(`@nix {"action":"result","fields":[%d,1,1,0],"id":1,"type":105}`+"\n", i))
	}
	if n := len(log.undecided()); n != builds+1 {
		t.Fatalf("%d builds are undecided, want %d: any of them may be the one that goes on", n, builds+1)
	}
	feed(t, log, `@nix {"action":"result","fields":["still here"],"id":2,"type":101}`+"\n")
	if n := len(log.undecided()); n != 1 {
		t.Errorf("%d builds are undecided, want the one that speaks", n)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}
