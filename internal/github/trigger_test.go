package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// GitHub serves the commits of forks as if they were the repository's own.
func TestAllowCommit(t *testing.T) {
	const event, fork, branch = "0123456789012345678901234567890123456789", "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	pull := Trigger{event: "pull_request", commits: []string{event}}
	for _, tt := range []struct {
		t      Trigger
		commit string
		want   string
	}{
		{Trigger{}, fork, ""},
		{pull, event, ""},
		{pull, branch, ""},
		{pull, "", ""}, // a tree with changes: it is never published
		{pull, fork, "build commit " + fork + " on pull_request with a secret: refused: no branch or tag"},
		{pull, "unknown", "find a branch or tag with commit unknown: no answer"},
	} {
		err := tt.t.AllowCommit(t.Context(), tt.commit, func(_ context.Context, commit string) (bool, error) {
			if commit == "unknown" {
				return false, errors.New("no answer")
			}
			return commit == branch, nil
		})
		if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("%v, commit %s: got %v, want %q", tt.t, tt.commit, err, tt.want)
		}
	}
}
