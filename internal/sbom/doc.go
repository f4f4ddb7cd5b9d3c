// Package sbom lists what an output needs at run time, as a software bill of materials in the form of CycloneDX 1.6
// (https://cyclonedx.org/docs/1.6/json/).
//
// The runtime closure is what Nix found by scanning outputs for store paths, so it is complete as to store objects.
// What was linked or copied into an object leaves no reference, and so has no component of its own.
package sbom
