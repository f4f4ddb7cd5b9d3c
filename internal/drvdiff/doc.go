// Package drvdiff finds why two derivations differ: which input, option or attribute, how far down the tree.
//
// A derivation's path is a hash of its text, and its text holds the paths of its inputs. So one changed byte at the
// bottom of a tree changes the paths of all derivations above it, and no path says why. [Diff] walks both trees from their
// roots, into the inputs that differ, and returns the derivations whose own values differ.
//
// A derivation has the format of Nix's ATerm files,
// https://nix.dev/manual/nix/latest/protocols/derivation-aterm, and the digest of a path that of
// https://nix.dev/manual/nix/latest/protocols/store-path. The idea of the walk is that of nix-diff
// (https://github.com/Gabriella439/nix-diff).
package drvdiff
