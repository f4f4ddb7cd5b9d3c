// Package sbom lists the runtime closure of an output as a software bill of materials in the form of CycloneDX 1.6
// (https://cyclonedx.org/docs/1.6/json/).
//
// Nix finds the runtime closure by scanning outputs for store paths, so it has all store objects. Code that was linked or
// copied into an object leaves no reference, and has no component of its own.
package sbom
