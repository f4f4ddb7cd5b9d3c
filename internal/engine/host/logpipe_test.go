package host

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

func TestLogPipeHandsOnEverything(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	for i := range 100_000 {
		fmt.Fprintln(&want, i)
	}
	for _, script := range []string{
		"seq 0 99999",
		"seq 0 49999; sleep 0.2; seq 50000 99999", // with a pause that is longer than the longest between two looks
		"(sleep 0.2; seq 50000 99999) & seq 0 49999",
	} {
		t.Run(script, func(t *testing.T) {
			var got bytes.Buffer
			p, err := newLogPipe(&got)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", script)
			cmd.Stdout = p.in
			err = cmd.Run()
			p.close()
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("%d bytes came out, want %d", got.Len(), want.Len())
			}
		})
	}
}
