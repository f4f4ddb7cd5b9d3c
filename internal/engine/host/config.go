package host

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// config has Nix's own settings by name, as nix config show prints them: in the syntax of nix.conf, in all versions.
// With --json, the form of a value depends on its type, which can change: sandbox-paths is a list up to Nix 2.33, and
// an object in later versions.
type config map[string]string

// parseConfig reads lines of the form "name = value".
func parseConfig(out string) config {
	c := config{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, " ="); ok {
			c[name] = strings.TrimSpace(value)
		}
	}
	return c
}

// text returns the value of a setting. A missing setting is an error.
func (c config) text(name string) (string, error) {
	value, ok := c[name]
	if !ok {
		return "", fmt.Errorf("read configuration of Nix: it has no setting %s", name)
	}
	return value, nil
}

// list returns the words of a setting. A missing setting is an error.
func (c config) list(name string) ([]string, error) {
	value, err := c.text(name)
	return strings.Fields(value), err
}

// native returns the system that Nix builds for without emulation.
func (c config) native() (matrix.System, error) {
	text, err := c.text("system")
	if err != nil {
		return "", err
	}
	system, err := matrix.ParseSystem(text)
	if err != nil {
		return "", fmt.Errorf("read configuration of Nix: setting system: %w", err)
	}
	return system, nil
}
