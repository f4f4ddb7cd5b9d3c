package dagger

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/enginetest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// imageVariable names an image for the tests: a file if no registry can be reached.
const imageVariable = "OPEN_SESAME_CI_IMAGE"

// cache returns a directory that all runs of the tests share: an image that is converted again is also uploaded again.
func cache() string { return filepath.Join(os.TempDir(), "open-sesame-ci-test", "open-sesame-ci") }

// options returns the options for an executor under test. Without an engine or an image, it skips the test.
func options(t *testing.T, system matrix.System) Options {
	t.Helper()
	if _, err := Detect(t.Context(), os.Environ()); err != nil {
		t.Skipf("no engine: %v", err)
	}
	name := os.Getenv(imageVariable)
	if name == "" {
		t.Skipf("no image: set %s to an image, such as one that .ci/image makes", imageVariable)
	}
	image, err := ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	return Options{System: system, Image: image, Settings: enginetest.Settings, Env: os.Environ(), Cache: cache(), Memlock: 64 << 20}
}

func open(t *testing.T, o Options) *Executor {
	t.Helper()
	x, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func TestContract(t *testing.T) {
	enginetest.Test(t, func(t *testing.T, system matrix.System) engine.Executor {
		return open(t, options(t, system))
	})
}
