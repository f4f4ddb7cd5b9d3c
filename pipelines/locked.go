package pipelines

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// unlocked says why no consumer could lock the flake to what a snapshot holds; empty where they can.
// Its own tree has to be of a commit, or of an archive with a hash; so have its inputs, but for those within the tree.
func unlocked(s run.Snapshot) string {
	if s.Rev == "" && strings.HasPrefix(s.URL, "path:") {
		return "the tree is a directory of this machine, of no commit: no consumer can lock it"
	}
	lock, err := flake.ReadLock(flakeDir(s))
	if errors.Is(err, fs.ErrNotExist) {
		return "" // of a flake with inputs, evaluation refuses this
	}
	if err != nil {
		return fmt.Sprintf("the locks of the inputs are unknown: %v", err)
	}
	if names := lock.Unlocked(); len(names) > 0 {
		return "not locked: " + strings.Join(names, ", ") + ": it may change at any time"
	}
	return ""
}
