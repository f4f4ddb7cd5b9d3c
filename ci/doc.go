// Command ci builds a Nix flake for release: its packages, for all systems, in Nix containers or on this machine,
// with their tests, into a binary cache, with a manifest from which the run can be repeated.
//
//	go run ./ci release            build the packages of the default project for both systems
//	go run ./ci release example    the same with the flake that ships with this program; needs no network
//	go run ./ci help               the manual
//
// This package turns a command line into a run of package pipelines, and the error of the run into an exit code.
// Only this package reads flags and the environment.
package main
