package flake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxLockSize is the maximum size of a flake.lock: large flakes have some hundred KiB.
const maxLockSize = 16 << 20

// Input is a direct or indirect input of a flake, with its lock.
type Input struct {
	// Name is the path of inputs that leads to it, as in --override-input: "nixpkgs", "home-manager/nixpkgs". If several
	// paths lead to one node, it is the shortest one; of several shortest ones, it is the first in order.
	Name string `json:"name"`
	// URL is the locked flake reference, such as "github:NixOS/nixpkgs/<rev>", without credentials.
	URL string `json:"url"`
	// NARHash is the SRI hash of the tree as a NAR. Only very old locks have none.
	NARHash string `json:"narHash,omitempty"`
	// Rev is the commit; empty if the input has no version control.
	Rev string `json:"rev,omitempty"`
	// LastModified is the time of the commit or of the newest file, in seconds since 1970.
	LastModified int64 `json:"lastModified,omitempty"`
}

// Lock is a parsed flake.lock: a graph of nodes, whose edges are the inputs. Its format is described in
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#lock-files.
type Lock struct {
	Version int
	Root    string // the name of the flake's own node
	Nodes   map[string]Node

	text string
}

// Node is the flake itself, or one of its direct or indirect inputs.
type Node struct {
	Inputs Edges
	Locked *Ref // nil for the root, and for an input that is not locked
	// Parent is the path of inputs to the flake from which a relative path starts. Nix before 2.26 does not write it.
	Parent []string
}

// Edge is the target of an input: a node, or that of another input.
type Edge struct {
	Node    string   // empty for an input that follows another one
	Follows []string // the path of that other input from the root
}

// Edges are the inputs of a node, by name.
type Edges map[string]Edge

// UnmarshalJSON reads, for each input, a node's name or a path of inputs.
func (e *Edges) UnmarshalJSON(data []byte) error {
	var inputs map[string]json.RawMessage
	if err := json.Unmarshal(data, &inputs); err != nil {
		return err
	}
	*e = make(Edges, len(inputs))
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		var edge Edge
		if json.Unmarshal(inputs[name], &edge.Node) != nil && json.Unmarshal(inputs[name], &edge.Follows) != nil {
			return fmt.Errorf("input %s: neither a node nor a path of inputs", name)
		}
		(*e)[name] = edge
	}
	return nil
}

// ReadLock reads the flake.lock in a flake's directory. The error of a flake without one wraps [fs.ErrNotExist].
func ReadLock(dir string) (*Lock, error) {
	data, err := regular.Read(filepath.Join(dir, "flake.lock"), maxLockSize)
	if err != nil {
		return nil, fmt.Errorf("read flake.lock: %w", err)
	}
	return ParseLock(data)
}

// SyntaxError is the error of a flake.lock that is not JSON.
type SyntaxError struct {
	Line, Column int
	Err          error
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("parse flake.lock:%d:%d: %v", e.Line, e.Column, e.Err)
}

// ParseLock parses a flake.lock of a version that Nix accepts: 5, 6 or 7. Like Nix, it ignores a byte order mark.
func ParseLock(data []byte) (*Lock, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	l := &Lock{text: string(data)}
	if err := regular.UnmarshalJSON(data, l); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			before := l.text[:min(int(syntax.Offset), len(l.text))]
			return nil, &SyntaxError{strings.Count(before, "\n") + 1, len(before) - strings.LastIndexByte(before, '\n'), syntax}
		}
		return nil, fmt.Errorf("parse flake.lock: %w", err)
	}
	if l.Version < 5 || l.Version > 7 {
		return nil, fmt.Errorf("parse flake.lock: version %d: want 5, 6 or 7", l.Version)
	}
	if _, ok := l.Nodes[l.Root]; !ok {
		return nil, fmt.Errorf("parse flake.lock: no node %q, which is its root", l.Root)
	}
	return l, nil
}

// Line returns the line of a node, 0 if it is unknown. In a lock of Nix, the name of a node before a brace is nowhere else,
// unless the node is called "inputs".
func (l *Lock) Line(node string) int {
	for i, line := range strings.Split(l.text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), fmt.Sprintf("%q: {", node)) {
			return i + 1
		}
	}
	return 0
}

// Inputs returns the inputs in the order of names. It leaves out an overridden input and the inputs that only it has: they
// do not take part in the build. An input that follows another one is the same input. A node without a lock is an error.
func (l *Lock) Inputs(overridden func(name string) bool) ([]Input, error) {
	// Breadth first, so that the first path to a node is the shortest. A cycle ends at the node that it comes back to.
	type step struct{ name, node string }
	var found []Input
	seen := map[string]bool{l.Root: true}
	for queue := []step{{"", l.Root}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		edges := l.Nodes[at.node].Inputs
		for _, edge := range slices.Sorted(maps.Keys(edges)) {
			name := strings.TrimPrefix(at.name+"/"+edge, "/")
			target := edges[edge].Node
			if target == "" || seen[target] || overridden != nil && overridden(name) {
				continue
			}
			input, err := l.input(name, target)
			if err != nil {
				return nil, fmt.Errorf("parse flake.lock: input %s: %v", name, err)
			}
			seen[target] = true
			found = append(found, input)
			queue = append(queue, step{name, target})
		}
	}
	slices.SortFunc(found, func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func (l *Lock) input(name, target string) (Input, error) {
	n, ok := l.Nodes[target]
	if !ok {
		return Input{}, fmt.Errorf("no node %q", target)
	}
	if n.Locked == nil {
		return Input{}, errors.New("not locked")
	}
	ref := *n.Locked
	if _, forge := defaultHost[ref.Kind]; !forge && !ref.Kind.hasURL() && ref.Kind != KindPath && ref.Kind != kindIndirect {
		return Input{}, fmt.Errorf("a reference of type %q is not known", ref.Kind)
	}
	input := Input{Name: name, NARHash: ref.NARHash, Rev: ref.Rev, LastModified: ref.LastModified}
	ref.NARHash, ref.LastModified = "", 0
	input.URL = ref.String()
	return input, nil
}
