// Package binarycache packs store objects into binary caches and asks caches what they serve.
//
// [Dir] is a directory in the layout that every Nix can substitute from as file://, and any web server can serve:
//
//	nix-cache-info          StoreDir, WantMassQuery, Priority
//	<digest>.narinfo        the metadata of the store object /nix/store/<digest>-<name>
//	nar/<file hash>.nar.zst its contents
//	.incoming/              what is being written; of no use to a reader
//
// [Dir.Import] fills it from a stream of nix-store --export. [HTTP] reads a cache on the web.
//
// The formats are those of the Nix manual's "Binary Cache" and "Nix Archive" pages
// (https://nix.dev/manual/nix/latest/protocols/) and of Nix's source where the manual is silent.
package binarycache
