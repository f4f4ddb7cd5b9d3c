package matrix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Package is the name of an attribute under packages.<system> of a flake: one attribute, whatever dots are in it.
// It may hold any character that takes room on a line, so that it can be shown, and has to be quoted everywhere else.
type Package string

// maxPackage bounds the length of a name, which becomes part of the names of files. Those of nixpkgs are shorter.
const maxPackage = 128

// ParsePackage returns the package that s names. Nix takes any text as the name of an attribute; what could deceive a
// person who reads it is refused.
func ParsePackage(s string) (Package, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("parse package %q: it has no name", s)
	case len(s) > maxPackage:
		return "", fmt.Errorf("parse package %.40q…: its name is longer than %d bytes", s, maxPackage)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("parse package %q: its name has a character that cannot be shown", s)
	}
	return Package(s), nil
}

// inFileName are the characters that are safe in the name of a file, everywhere and in a URL.
const inFileName = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.="

// FileName returns a name for files about the package: its own where that is safe, else one that is like it, with a hash
// that tells it from others.
func (p Package) FileName() string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(inFileName, r) {
			return r
		}
		return '-'
	}, string(p))
	name = strings.TrimLeft(name, "+-.=")
	if name == string(p) {
		return name
	}
	sum := sha256.Sum256([]byte(p))
	return strings.TrimLeft(name+"-"+hex.EncodeToString(sum[:8]), "-")
}
