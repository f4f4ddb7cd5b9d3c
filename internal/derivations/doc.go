// Package derivations keeps the derivations that a run has built from in a file, for another machine to compare its own
// with them. A file is a stream of nix-store --export, compressed by zstd.
package derivations
