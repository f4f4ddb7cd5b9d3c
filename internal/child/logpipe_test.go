package child

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRunCopiesAllErrorOutput(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	for i := range 100_000 {
		fmt.Fprintln(&want, i)
	}
	for _, script := range []string{
		"seq 0 99999",
		"seq 0 49999; sleep 0.2; seq 50000 99999",    // with a long pause
		"(sleep 0.2; seq 50000 99999) & seq 0 49999", // from a process that outlives the first one
	} {
		t.Run(script, func(t *testing.T) {
			var got strings.Builder
			cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec >&2; "+script)
			cmd.Stderr, cmd.WaitDelay = &got, time.Minute
			end, err := Run(t.Context(), cmd)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("%d bytes were copied, want %d", got.Len(), want.Len())
			}
			if len(end) != 16<<10 || !strings.HasSuffix(want.String(), end) {
				t.Errorf("Run returns %d bytes, which are not the last 16 KiB", len(end))
			}
		})
	}
}
