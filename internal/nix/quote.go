package nix

import (
	"regexp"
	"slices"
	"strings"
)

// Quote returns s as a string of the Nix language, in which nothing is interpolated.
func Quote(s string) string {
	return `"` + quoting.Replace(s) + `"`
}

// A carriage return that is not escaped becomes a line feed.
var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `${`, `\${`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// An identifier that is no keyword needs no quotes; https://nix.dev/manual/nix/latest/language/identifiers.
var (
	identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_'-]*$`)
	keywords   = []string{"assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"}
)

// Attribute returns the name of an attribute as part of an attribute path of Nix.
func Attribute(name string) string {
	if identifier.MatchString(name) && !slices.Contains(keywords, name) {
		return name
	}
	return Quote(name)
}
