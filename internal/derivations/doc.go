// Package derivations keeps the derivations that a run has built from in a file, for another machine to compare its own
// with them or to build them, and believes of such a file no more than can be proven.
//
// A file is a stream of nix-store --export, compressed by zstd. What is in it was never built: derivations and sources,
// whose store paths are made of their contents. So a file can be checked without trust in whoever has written it, which
// Nix itself does not do when it imports one.
package derivations
