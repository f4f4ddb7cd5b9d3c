// Package compare says in what two builds of the same thing differ, and what most likely made them differ.
//
// [Trees] compares the contents of two store objects, file by file: of a changed file it tells where the first byte
// differs, in which section or archive member that byte lies, and by which known cause such bytes come to differ.
// [Sets] does so for each output of two manifests or two binary caches.
//
// Both sides are read as streams, in lock step: the names of a NAR are in order, so that one walk through both sees
// what is on one side alone. Of each file a bounded part is kept, so that memory does not grow with file size.
//
// A cause is a guess by the form of the bytes, never a proof. The difference itself is exact.
package compare
