// Package flake reads flake references (ref.go), flake.lock files (lock.go) and the trees of flakes. [Snapshotter] copies a
// tree to a directory that has exactly the files that a consumer of the flake evaluates.
//
// The snapshot needs no Nix, and needs git only to fetch and to archive. A forge serves a flake as an archive of git. So
// the tree of a commit is the output of "git archive", without any configuration of this machine (repository.go). The tree
// of a checkout with changes is its tracked files (checkout.go), that of another directory all its files (plain.go), and
// that of a tarball the files in it (tarball.go).
//
// One case differs from the forge: a file with the attribute export-subst and placeholders for names of references (%d,
// %D), a description or an abbreviated hash. A forge fills them in from its own clone.
package flake
