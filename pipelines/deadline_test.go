package pipelines

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// A cache that never answers delays a build by at most a minute, and the end of a release by at most --push-timeout.
func TestSilentCacheDelaysNoStepBeyondItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, cache := newFakeRun(t), &fakeCachix{silent: true}
		release.publishTo(cache)
		release.Publish.Timeout = 5 * time.Minute
		started := time.Now()
		m, err := release.Run(t.Context())
		if took, want := time.Since(started), time.Minute+release.Publish.Timeout; took != want {
			t.Errorf("it took %s, want %s", took, want)
		}
		if err == nil || run.OutcomeOf(err) != run.OutcomeUnpublished || !strings.Contains(err.Error(), "timed out after 5m0s (--push-timeout)") {
			t.Errorf("error %v, want one of publishing that names the flag", err)
		}
		if cache.pushes != len(release.Cells) || m.Outcome != run.OutcomeUnpublished {
			t.Errorf("%d pushes, outcome %s", cache.pushes, m.Outcome)
		}
	})
}

// The time limit of the run also applies to the query before the build.
func TestTimeLimitAppliesToTheCacheQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := newFakeRun(t)
		release.publishTo(&fakeCachix{silent: true})
		ctx, cancel := run.WithTimeout(t.Context(), 30*time.Second, "timeout")
		defer cancel()
		started := time.Now()
		m, err := release.Run(ctx)
		if took := time.Since(started); took != 30*time.Second {
			t.Errorf("it took %s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "timed out after 30s (--timeout)") || m.Outcome == run.OutcomeGood {
			t.Errorf("outcome %s, error %v", m.Outcome, err)
		}
	})
}
