package flake

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Unlocked returns the nodes that have neither a hash nor a commit, in the order of names. A directory in
// the flake's own tree needs no lock.
//
// Nix writes such nodes for inputs that it cannot lock, such as a repository with changes; see --allow-dirty-locks.
func (l *Lock) Unlocked() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(l.Nodes)) {
		if name != l.Root && !l.Nodes[name].Locked.IsLocked() {
			names = append(names, name)
		}
	}
	return names
}

// IsLocked reports whether the reference has a hash or a commit, or is part of a locked tree. Since version 2.26, Nix writes
// no hash for a relative path.
func (r *Ref) IsLocked() bool {
	return r != nil && (r.IsRelative() || r.NARHash != "" || isCommit(r.Rev))
}

// IsRelative reports whether the reference is a path that is relative to the flake with the input.
func (r *Ref) IsRelative() bool { return r.Kind == KindPath && !path.IsAbs(r.Path) }

// Within returns the directory of a node, relative to the root of the tree that holds it. It begins with ".." where a
// relative path leads out of that tree. Each relative path starts from the directory of its parent.
func (l *Lock) Within(name string) string {
	return path.Clean(l.within(name, 0))
}

// maxParents limits a chain of parents, which may be circular in a lock that Nix has not written.
const maxParents = 100

func (l *Lock) within(name string, depth int) string {
	n := l.Nodes[name]
	switch {
	case n.Locked == nil || depth > maxParents:
		return "."
	case !n.Locked.IsRelative():
		return path.Join(".", n.Locked.Dir)
	}
	return path.Join(l.within(l.find(n.Parent), depth+1), n.Locked.Path)
}

// find returns the node at a path of inputs, and the root if there is none.
func (l *Lock) find(inputs []string) string {
	name := l.Root
	for range maxParents {
		if len(inputs) == 0 {
			return name
		}
		edge := l.Nodes[name].Inputs[inputs[0]]
		switch {
		case edge.Node != "":
			name, inputs = edge.Node, inputs[1:]
		case len(edge.Follows) > 0:
			name, inputs = l.Root, append(slices.Clone(edge.Follows), inputs[1:]...)
		default:
			return l.Root
		}
	}
	return l.Root
}

// isCommit reports whether a revision is a full SHA-1 or SHA-256 hash.
func isCommit(rev string) bool {
	return (len(rev) == 40 || len(rev) == 64) && strings.Trim(rev, "0123456789abcdef") == ""
}
