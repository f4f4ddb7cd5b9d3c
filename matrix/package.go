package matrix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Package is the name of an attribute under packages.<system> of a flake: one attribute, even if it contains dots. It
// may contain any visible character, and has to be quoted everywhere else.
type Package string

// maxPackage bounds the length of a name, which becomes part of file names. The names of nixpkgs are shorter.
const maxPackage = 128

// ParsePackage returns the package that s names. Nix accepts any text as the name of an attribute. This function
// refuses names that could deceive a reader.
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

// FileName returns a name for files about the package: its own if that is safe, else a similar one with a hash, which
// makes it unique.
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
