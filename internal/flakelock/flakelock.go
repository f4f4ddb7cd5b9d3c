// Package flakelock reads a flake.lock: what a flake's inputs are locked to.
//
// The format is that of the Nix manual's page "nix flake", section "Lock files"
// (https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#lock-files): a graph of nodes, whose edges are the inputs.
package flakelock

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Input is an input of a flake, or an input of an input, and what it is locked to.
type Input struct {
	// Name is the path of inputs that leads to it, as --override-input takes it: "nixpkgs", "home-manager/nixpkgs".
	// Where several paths lead to one node, it is the shortest, and of these the first in order.
	Name string `json:"name"`
	// URL is the locked flake reference, such as "github:NixOS/nixpkgs/<rev>", without credentials.
	URL string `json:"url"`
	// NARHash is the SRI hash of the tree as a NAR. Every fetcher of Nix but that of very old locks gives one.
	NARHash string `json:"narHash,omitempty"`
	// Rev is the commit; empty where the input is under no version control.
	Rev string `json:"rev,omitempty"`
	// LastModified is the time of the commit or of the newest file, in seconds since 1970.
	LastModified int64 `json:"lastModified,omitempty"`
}

type lock struct {
	Version int
	Root    string
	Nodes   map[string]node
}

type node struct {
	Inputs map[string]json.RawMessage // a node's name, or the path of another input that it follows
	Locked *locked
}

// Inputs returns the inputs that a flake.lock pins, by name and in the order of names.
// An input that is overridden, and what nothing but it leads to, is not among them: it has no part in the build.
// An input that follows another is that other. A node without a lock is an error.
func Inputs(data []byte, overridden func(name string) bool) ([]Input, error) {
	inputs, err := inputs(data, overridden)
	if err != nil {
		return nil, fmt.Errorf("parse flake.lock: %v", err)
	}
	return inputs, nil
}

func inputs(data []byte, overridden func(string) bool) ([]Input, error) {
	var l lock
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	if l.Version < 5 || l.Version > 7 {
		return nil, fmt.Errorf("version %d: want 5, 6 or 7", l.Version)
	}
	if _, ok := l.Nodes[l.Root]; !ok {
		return nil, fmt.Errorf("no node %q, which is its root", l.Root)
	}
	// Breadth first, so that the first path to a node is the shortest. A cycle ends at the node that it comes back to.
	type step struct{ name, node string }
	var found []Input
	seen := map[string]bool{l.Root: true}
	for queue := []step{{"", l.Root}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		edges := l.Nodes[at.node].Inputs
		for _, edge := range slices.Sorted(maps.Keys(edges)) {
			name := strings.TrimPrefix(at.name+"/"+edge, "/")
			target, direct, err := edgeTarget(edges[edge])
			if err != nil {
				return nil, fmt.Errorf("input %s: %v", name, err)
			}
			if !direct || seen[target] || overridden != nil && overridden(name) {
				continue
			}
			input, err := l.input(name, target)
			if err != nil {
				return nil, fmt.Errorf("input %s: %v", name, err)
			}
			seen[target] = true
			found = append(found, input)
			queue = append(queue, step{name, target})
		}
	}
	slices.SortFunc(found, func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// edgeTarget reads an edge. One that follows another input is not direct: its node is found where that other leads.
func edgeTarget(edge json.RawMessage) (name string, direct bool, err error) {
	if err := json.Unmarshal(edge, &name); err == nil {
		return name, true, nil
	}
	var follows []string
	if err := json.Unmarshal(edge, &follows); err != nil {
		return "", false, errors.New("neither a node nor a path of inputs")
	}
	return "", false, nil
}

func (l *lock) input(name, target string) (Input, error) {
	n, ok := l.Nodes[target]
	if !ok {
		return Input{}, fmt.Errorf("no node %q", target)
	}
	if n.Locked == nil {
		return Input{}, errors.New("not locked")
	}
	url, err := n.Locked.url()
	if err != nil {
		return Input{}, err
	}
	return Input{
		Name: name, URL: url, NARHash: n.Locked.NARHash, Rev: n.Locked.Rev, LastModified: n.Locked.LastModified,
	}, nil
}
