package flake

import (
	"slices"
	"strings"
	"testing"
)

// Reading any flake.lock ends, and lists each node once.
func FuzzLock(f *testing.F) {
	f.Add([]byte(lockText))
	f.Add([]byte(`{"nodes": {"root": {"inputs": {"a": ["a"], "b": ["a", "c"]}}}, "root": "root", "version": 7}`))
	f.Add([]byte(`{"nodes": {"root": {"inputs": {"a": "a"}}, "a": {"locked": {"type": "path", "path": "../.."}, "parent": ["a"], "inputs": {"r": "root"}}}, "root": "root", "version": 7}`))
	f.Add([]byte("\ufeff{\"version\": 5}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := ParseLock(data)
		if err != nil {
			return
		}
		lock.Unlocked()
		inputs, err := lock.Inputs(nil)
		for name := range lock.Nodes {
			if dir := lock.Within(name); dir == "" {
				t.Errorf("node %q lies in no directory", name)
			}
		}
		if err != nil {
			return
		}
		if len(inputs) >= max(1, len(lock.Nodes)) {
			t.Errorf("%d inputs of %d nodes", len(inputs), len(lock.Nodes))
		}
		if !slices.IsSortedFunc(inputs, func(a, b Input) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("not in the order of names: %+v", inputs)
		}
	})
}
