// Package contract holds a flake to its promises.
//
// A [Contract] is data: what a flake's outputs, packages, units, module, lock files and settings are to be.
// It is read from a TOML file; the one for Open Sesame is built in. Its strictness is "at least these":
// a flake that has grown beyond its contract keeps it.
//
// Checks come in three kinds, by what they need:
//
//   - of files alone ([Contract.Static]): no Nix, milliseconds, before anything is built;
//   - of one evaluation a system ([Contract.Evaluate]);
//   - of what was built ([Contract.Built]): the outputs' files, and their closure.
//
// This package runs nothing itself but systemd-analyze, on units; package pipelines drives it. Every check that a contract plans must report:
// [Complete] turns one that did not into a failure.
package contract
