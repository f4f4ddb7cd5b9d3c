// Package binarycache reads and writes binary caches.
//
// [Dir] is a directory from which Nix can substitute as file://, and which any web server can serve:
//
//	nix-cache-info          StoreDir, WantMassQuery, Priority
//	<digest>.narinfo        the metadata of the store object /nix/store/<digest>-<name>
//	nar/<file hash>.nar.zst its NAR, compressed
//	.incoming/              files that are being written; readers ignore them
//
// [Dir.Import] fills it from a stream of nix-store --export. [HTTP] reads a cache on the web.
//
// The formats are described on the pages "Binary Cache" and "Nix Archive" of the Nix manual
// (https://nix.dev/manual/nix/latest/protocols/), and in the source code of Nix.
package binarycache
