package buildlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run/runtest"
)

// Counts are assigned to builds fast, even if each of thousands of counts can be about each of thousands of builds.
func TestThousandsOfOpenBuildsAreMatchedFast(t *testing.T) {
	const builds = 3000
	_, log := newReplay(t)
	feed(t, log, `@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}`+"\n")
	started := time.Now()
	for i := range builds + 1 { // the first one continues
		feed(t, log, fmt.Sprintf(`@nix {"action":"start","fields":["/nix/store/12jhkv0cgfm8d60n9vmx1q25cns%05d-x.drv","",1,1],"id":%d,"level":3,"parent":0,"text":"","type":105}`+"\n", i, i+2))
		feed(t, log, fmt.Sprintf(`@nix {"action":"result","fields":[%d,1,1,0],"id":1,"type":105}`+"\n", i))
	}
	if n := len(log.undecidedBuilds()); n != builds+1 {
		t.Fatalf("%d builds are undecided, want %d: any of them may be the one that goes on", n, builds+1)
	}
	feed(t, log, `@nix {"action":"result","fields":["still here"],"id":2,"type":101}`+"\n")
	if n := len(log.undecidedBuilds()); n != 1 {
		t.Errorf("%d builds are undecided, want the one that speaks", n)
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

// The end of the run is not the cause if Nix may have counted the build as failed. It is the cause if the build continues
// after the count.
func TestInterruptIsNotTheCauseOfABuildThatMayHaveFailed(t *testing.T) {
	const bad, slow = "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns00000-bad.drv", "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns00001-slow.drv"
	rec, log := newReplay(t)
	feed(t, log, `@nix {"action":"start","id":1,"level":0,"parent":0,"text":"","type":104}
@nix {"action":"start","fields":["`+bad+`","",1,1],"id":2,"level":3,"parent":0,"text":"","type":105}
@nix {"action":"start","fields":["`+slow+`","",1,1],"id":3,"level":3,"parent":0,"text":"","type":105}
@nix {"action":"result","fields":["boo"],"id":2,"type":101}
@nix {"action":"result","fields":[0,2,1,1],"id":1,"type":105}
@nix {"action":"result","fields":["still here"],"id":3,"type":101}
`)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 0, errors.New("timed out after 1m0s (--timeout)"))
	defer cancel()
	log.close(ctx, context.DeadlineExceeded)
	log.DecideByStore(nil)
	got := map[string]run.FailureKind{}
	for _, e := range runtest.Of[run.BuildFinished](rec) {
		got[string(e.Derivation)] = e.Failure.Kind
	}
	if got[bad] != run.Unfinished || got[slow] != run.TimedOut || len(got) != 2 {
		t.Errorf("kinds %v, want %q for the build that may have ended, and %q for the one that wrote later", got, run.Unfinished, run.TimedOut)
	}
	if f := log.Failure(bad); f == nil || !strings.Contains(f.Message, "timed out after 1m0s") {
		t.Errorf("the package's failure is %+v, want one that names the end of the run as well", f)
	}
	if f := log.Failure(slow); f != nil {
		t.Errorf("the failure of the build that continues is %+v, want that of the run", f)
	}
}
