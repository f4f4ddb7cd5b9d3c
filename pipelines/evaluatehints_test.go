package pipelines

import (
	"slices"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The messages are those of Nix 2.8 and of newer versions.
func TestHintsOfEvaluationErrors(t *testing.T) {
	const (
		add  = "Nix sees only files that git tracks; if one of these is missing: git -C '/home/a b' add -- a.nix 'b c/'"
		lock = "the flake has no flake.lock: if it has inputs, lock them and commit the result: nix flake lock"
	)
	s := run.Snapshot{URL: "git+file:///home/a%20b?rev=" + fakeHash, NARHash: fakeHash, LockHash: "sha256-x", Untracked: []string{"a.nix", "b c/"}}
	tracked, unlocked := s, s
	tracked.Untracked, unlocked.LockHash, unlocked.Untracked = nil, "", nil
	for _, test := range []struct {
		s    run.Snapshot
		said string
		want []string
	}{
		{s, "error: getting status of '/nix/store/x-source/a.nix': No such file or directory\n", []string{add}},
		{s, "error: path '/nix/store/x-source/a.nix' does not exist\n", []string{add}},
		{tracked, "error: path '/nix/store/x-source/a.nix' does not exist\n", nil},
		{unlocked, "error: unable to download 'https://api.github.com/repos/a/b/commits/HEAD': Couldn't resolve host name (6)\n", []string{lock, "an input could not be fetched: check the network, and GitHub's limits for those without a token; then run the same command again"}},
		{unlocked, "error: flake 'path:/x' requires lock file changes but they're not allowed due to '--no-write-lock-file'\n", []string{lock}},
		{
			tracked, "error: flake 'path:/x' requires lock file changes but they're not allowed due to '--no-write-lock-file'\n",
			[]string{"lock the inputs and commit the result: nix flake lock"},
		},
	} {
		err := evaluationError(matrix.X8664Linux, test.s, test.said, &engine.ExitError{Program: "nix", Code: 1, Stderr: test.said})
		if got := hint.Of(err); !slices.Equal(got, test.want) {
			t.Errorf("%s: hints %q, want %q", test.said, got, test.want)
		}
	}
}
