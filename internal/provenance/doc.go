// Package provenance writes and verifies the provenance of the outputs of a run.
//
// [Statement] converts a manifest to an in-toto statement (https://github.com/in-toto/attestation/tree/main/spec/v1)
// with a predicate of SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance): the NAR hashes of the outputs, and the
// sources, inputs and conditions of their builds. [Write] signs it if there is a key, and writes it beside the manifest.
// [Read], [Attestation.Verify] and [Check] verify the signature, the form, and the outputs in a cache or a store.
//
// docs/provenance.md, which is the build type of the statement, documents the fields.
package provenance
