// Package provenance says where the outputs of a run come from, in a form that others can check.
//
// [Statement] makes of a manifest an in-toto statement (https://github.com/in-toto/attestation/tree/main/spec/v1)
// with a predicate of SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance): the outputs by the hash of their NAR,
// and all that went into them. [Write] signs it where there is a key, and puts it beside the manifest.
// [Read], [Attestation.Verify] and [Check] are the way back: signature, form, and the outputs as a cache or a store has them.
//
// What each field means is documented in docs/provenance.md, which the statement names as its build type.
package provenance
