package main

import (
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/compare"
)

// A condition that one side does not have, such as an image on a host, is not left empty.
func TestReplayShowsWhatIsNotThere(t *testing.T) {
	var out strings.Builder
	r := replayReport{Conditions: []compare.Field{{Name: "image", A: "", B: "sha256:1"}, {Name: "image", A: "sha256:1", B: ""}}}
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"there: -\n", "here:  -\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}
