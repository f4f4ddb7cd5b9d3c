// Package nixtext reads plain data from Nix files without evaluation: attribute sets of strings and booleans, such as
// the inputs and the nixConfig of a flake.nix, and tables of hashes.
package nixtext

import (
	"slices"
	"strings"
)

// Kind is the kind of a value.
type Kind int

// The kinds of values.
const (
	Other         Kind = iota // an expression that only Nix can evaluate
	Name                      // a name, a path or a number
	Text                      // a string without interpolations
	Set                       // an attribute set
	Let                       // the bindings of a let
	Merge                     // several values with // between them, which are its Parts
	Inherited                 // the value of inherit NAME;
	InheritedFrom             // the value of inherit (…) NAME;
)

// Value is an expression, as far as it is read without evaluation. Parentheses around a whole value are left out.
type Value struct {
	Kind Kind
	// Text is the name, or the value of the string.
	Text string
	// Source is the value as it is written, from its first to its last line.
	Source      string
	Line, Last  int
	Bindings    []Binding
	IsRecursive bool // rec { … }
	// Arguments are the names of a function's arguments.
	Arguments []string
	// Parts are the values in it that belong to no binding. A set with parts has names that are computed, inherits from
	// another set, or is the arguments of a function.
	Parts []Value
}

// Binding is PATH = VALUE; in an attribute set or a let.
type Binding struct {
	Path  []string
	Line  int
	Value Value
}

// Name returns the path with dots.
func (b Binding) Name() string { return strings.Join(b.Path, ".") }

// IsInherited reports whether the binding is by inherit.
func (b Binding) IsInherited() bool {
	return b.Value.Kind == Inherited || b.Value.Kind == InheritedFrom
}

// Walk calls visit with the bindings of a set, and of the sets in their values, each with its whole path.
func (v Value) Walk(visit func(Binding)) { v.walk(nil, visit) }

func (v Value) walk(prefix []string, visit func(Binding)) {
	for _, b := range v.Bindings {
		if v.Kind == Set && !b.IsInherited() {
			b.Path = slices.Concat(prefix, b.Path)
			visit(b)
			b.Value.walk(b.Path, visit)
		}
	}
}

// Strings returns all strings in a value that is not a set.
func (v Value) Strings() (all []string) {
	if v.Kind == Text {
		return []string{v.Text}
	}
	for _, part := range v.Parts {
		all = append(all, part.Strings()...)
	}
	return all
}
