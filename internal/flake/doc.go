// Package flake reads what belongs to a flake's tree: its reference (ref.go), its flake.lock (lock.go), and the tree
// itself, of which [Snapshotter] makes a copy: a plain directory with exactly the files that a consumer of the flake
// evaluates, wherever the flake comes from.
//
// The snapshot needs no Nix, and git only to fetch and to archive. A forge serves a flake as an archive made by git, so
// the tree of a commit is the output of "git archive", without any configuration of this machine (repository.go).
// A checkout with changes gives its tracked files instead (checkout.go), any other directory all of its files (plain.go),
// a tarball the files in it (tarball.go).
//
// One case differs from the forge: a file with the attribute export-subst that asks for names of references (%d, %D), a
// description or an abbreviated hash. A forge fills these in from its own clone.
package flake
