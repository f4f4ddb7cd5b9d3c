// Package derivations stores the derivations of a run in a file, so that another machine can compare its own with them. A
// file is a stream of nix-store --export, compressed by zstd.
package derivations
