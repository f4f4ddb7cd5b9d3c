// Package reproduce holds a run against the manifest of another one that was to build the same: package by package,
// derivation, output paths, NAR hashes, and what the checks of the contract found. Where they differ it says why: which
// input, option or attribute of a derivation, or which bytes of which file.
package reproduce
