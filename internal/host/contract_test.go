package host

import (
	"os"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/executortest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

func TestContract(t *testing.T) {
	nixtest.Need(t)
	executortest.Test(t, func(t *testing.T, system matrix.System) pipelines.Executor {
		x, err := Open(t.Context(), Options{System: system, Settings: executortest.Settings, Env: os.Environ()})
		if err != nil {
			t.Fatal(err)
		}
		return x
	})
}
