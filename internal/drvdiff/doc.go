// Package drvdiff finds why two derivations differ: which input, option or attribute, how far down the tree.
//
// A derivation's path is a hash of its text, and its text holds the paths of its inputs. So one changed byte at the
// bottom of a tree gives every derivation above it another path, and says of none of them why. [Diff] walks both trees
// from their roots, always into what differs, and returns the derivations that differ in themselves.
//
// The form of a derivation is that of Nix's ATerm files,
// https://nix.dev/manual/nix/latest/protocols/derivation-aterm, and a path's digest that of
// https://nix.dev/manual/nix/latest/protocols/store-path. The idea of the walk is that of nix-diff
// (https://github.com/Gabriella439/nix-diff).
package drvdiff
