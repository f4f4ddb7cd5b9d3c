// Package nix is the vocabulary of Nix: store paths, settings, and what the Nix commands print.
// It runs nothing and touches no file.
//
// The words are those of the Nix manual's glossary
// (https://nix.dev/manual/nix/latest/glossary): store path, derivation, output, closure, substituter.
// What the commands print changed over the years; every decoder here takes the forms of Nix 2.8
// (the one that Debian 12 packages) up to today's.
package nix
