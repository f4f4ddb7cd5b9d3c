// Package nix has the types of Nix: store paths, hashes, settings, and what the Nix commands print. It runs no program.
//
// Terms are those of the Nix manual's glossary
// (https://nix.dev/manual/nix/latest/glossary): store path, derivation, output, closure, substituter.
// The output of the commands depends on their version. Every decoder here accepts that of Nix 2.8, which Debian 12
// packages, and of all later versions.
package nix
