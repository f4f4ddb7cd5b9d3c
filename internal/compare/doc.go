// Package compare reports what differs between two builds.
//
// [Trees] compares two store objects file by file. It looks into archives, compressed files and ELF files, and reports the
// members that were added, removed or changed. [Compare] compares what is at two paths, such as the outputs of two manifests or two binary caches.
//
// Both sides are read as streams, in lock step: the names in a NAR are sorted. Of each file a bounded part is kept, so
// memory does not depend on the size of files.
//
// A difference is exact. A cause is a conclusion from the form of the bytes: it is named only where both sides are builds of
// the same derivation, and only by rules that were never wrong on the files of docs/reproducibility.md.
package compare
