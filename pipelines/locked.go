package pipelines

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// unlocked says why no consumer could lock the flake to what a snapshot holds; empty where they can.
// Its own tree has to be of a commit, or of an archive with a hash; so have its inputs, but for those within the tree.
func unlocked(s Snapshot) string {
	if s.Rev == "" && strings.HasPrefix(s.URL, "path:") {
		return "the tree is a directory of this machine, of no commit: no consumer can lock it"
	}
	data, err := regular.Read(filepath.Join(flakeDir(s), "flake.lock"), flake.MaxLockSize)
	if errors.Is(err, fs.ErrNotExist) {
		return "" // of a flake with inputs, evaluation refuses this
	}
	var names []string
	if err == nil {
		names, err = flake.Unlocked(data)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("what the inputs are locked to cannot be told: %v", err)
	case len(names) > 0:
		return "not locked: " + strings.Join(names, ", ") + ": what it is tomorrow may be another"
	}
	return ""
}
