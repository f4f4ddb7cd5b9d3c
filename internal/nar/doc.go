// Package nar reads and writes Nix archives (NARs), compresses and decompresses them, reads the export stream of nix-store, and
// compares an archive with its narinfo.
//
// The grammar is that of the Nix manual's page "Nix Archive (NAR) format":
//
//	nar       = "nix-archive-1" node
//	node      = "(" "type" ( regular | symlink | directory ) ")"
//	regular   = "regular" [ "executable" "" ] "contents" bytes
//	symlink   = "symlink" "target" bytes
//	directory = "directory" { "entry" "(" "name" bytes "node" node ")" }
//
// Names are in ascending order of their bytes. An archive does not state its length: only the grammar shows its
// end. So a stream of several archives has to be parsed.
//
// zombiezen.com/go/nix/nar is not used: it refuses names that are not UTF-8, which Nix accepts, and accepts padding that
// is not zero, which Nix refuses.
package nar
