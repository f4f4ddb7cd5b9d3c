package pipelines

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func TestPathsOfARunAreProtected(t *testing.T) {
	for name, collects := range map[string]int{"": 0, "a collector between evaluation and Keep": 1} {
		t.Run(name, func(t *testing.T) {
			run := newFakeRun(t)
			for _, e := range run.engines {
				e.collects = collects
			}
			if _, err := run.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for system, e := range run.engines {
				if n := e.ran(evaluate); n != 1+collects {
					t.Errorf("%s: %d evaluations, want %d", system, n, 1+collects)
				}
				var want []nix.StorePath
				for _, p := range fakePackages {
					want = append(want, fakePath(system, p, ".drv"), fakePath(system, p, ""))
				}
				want = append(want, "/nix/store/"+fakeDigest+"f-input", "/nix/store/"+fakeDigest+"s-probe-0")
				for _, path := range want {
					if !slices.Contains(e.kept, path) {
						t.Errorf("%s: %s is not kept", system, path)
					}
				}
			}
		})
	}
}

func TestEndlessGarbageCollection(t *testing.T) {
	run := newFakeRun(t)
	for _, e := range run.engines {
		e.collects = 100
	}
	if _, err := run.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "read derivations") {
		t.Errorf("the error is %v", err)
	}
}

func TestExecutorThatCannotProtectPaths(t *testing.T) {
	release := newFakeRun(t)
	for _, e := range release.engines {
		e.keepErr = errors.New("no temporary roots here")
	}
	if _, err := release.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	warned := 0
	for _, n := range of[run.Notice](release.recorder) {
		if n.Level == run.Warning && strings.Contains(n.Text, "no temporary roots here") {
			warned++
		}
	}
	if warned == 0 {
		t.Error("no warning")
	}
}
