// Package contract checks whether a flake satisfies its contract.
//
// A [Contract] is data: requirements of a flake's outputs, packages, units, module, lock files and settings. It is read
// from a TOML file. A flake may have more than its contract requires.
//
// There are three kinds of checks, by what they need:
//
//   - files of the tree ([Contract.Static]): without Nix, in milliseconds, before anything is built;
//   - one evaluation for each system ([Contract.Evaluate]);
//   - what was built ([Contract.Built]): the files of the outputs, and their closure.
//
// The only program that this package runs is systemd-analyze, on units; package pipelines runs Nix for it. Every planned
// check has to report a result: [Contract.Finish] adds a failure for one that does not.
package contract
