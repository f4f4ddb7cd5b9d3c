package flakelock

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unlocked returns the nodes of a flake.lock that do not say by a hash or a commit what they are, in the order of names.
// A directory within the flake's own tree needs no lock: it is part of what is locked.
//
// Nix writes such nodes for what it could not lock, such as a repository with changes; see --allow-dirty-locks in its manual.
func Unlocked(data []byte) ([]string, error) {
	var l lock
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("parse flake.lock: %v", err)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.Nodes)) {
		if name != l.Root && !l.Nodes[name].Locked.isLocked() {
			names = append(names, name)
		}
	}
	return names, nil
}

func (l *locked) isLocked() bool {
	if l == nil {
		return false
	}
	within := l.Type == "path" && !strings.HasPrefix(l.Path, "/")
	return within || l.NARHash != "" || isCommit(l.Rev)
}

// isCommit tells a full hash of git, by SHA-1 or SHA-256.
func isCommit(rev string) bool {
	return (len(rev) == 40 || len(rev) == 64) && strings.Trim(rev, "0123456789abcdef") == ""
}
