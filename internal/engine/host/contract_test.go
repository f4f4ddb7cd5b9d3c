package host

import (
	"os"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/enginetest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestContract(t *testing.T) {
	nixtest.Need(t)
	enginetest.Test(t, func(t *testing.T, system matrix.System) engine.Executor {
		x, err := Open(t.Context(), Options{System: system, Settings: enginetest.Settings, Env: os.Environ()})
		if err != nil {
			t.Fatal(err)
		}
		return x
	})
}
