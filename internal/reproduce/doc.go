// Package reproduce compares a run with the manifest of an earlier run of the same flake. For each package it compares
// derivation, output paths and NAR hashes, and it compares the results of the contract's checks. It reports the reason of a
// difference: the input, option or attribute of a derivation, or the bytes of a file.
package reproduce
