package nix

import (
	"maps"
	"slices"
	"strings"
)

// Settings are settings of Nix by name, as nix.conf has them:
// https://nix.dev/manual/nix/latest/command-ref/conf-file.
// A name with the prefix "extra-" appends to the list that it names.
type Settings map[string]string

// With returns the settings of both, where others take precedence. It changes neither.
func (s Settings) With(others Settings) Settings {
	all := maps.Clone(s)
	if all == nil {
		all = Settings{}
	}
	maps.Copy(all, others)
	return all
}

// Config returns the settings as the value of NIX_CONFIG, one a line and in order. A line break in a value would begin
// another setting, and becomes a space.
func (s Settings) Config() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		value := strings.Join(strings.Fields(s[name]), " ")
		b.WriteString(strings.TrimRight(name+" = "+value, " "))
		b.WriteByte('\n')
	}
	return b.String()
}
