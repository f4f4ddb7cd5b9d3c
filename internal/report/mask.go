package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// minMaskLength is the shortest text to hide. Shorter values would match ordinary text.
const minMaskLength = 8

// Mask makes GitHub's runner, which reads w and removes these commands, hide secrets in all later output: the whole
// secret, each line, and the base64 part of a key "name:base64".
func Mask(w io.Writer, secrets []string) error {
	var masks []string
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= minMaskLength && !slices.Contains(masks, text) {
			masks = append(masks, text)
		}
	}
	for _, secret := range secrets {
		add(secret)
		for line := range strings.Lines(secret) {
			add(line)
			if _, key, found := strings.Cut(strings.TrimSpace(line), ":"); found {
				add(key)
			}
		}
	}
	for _, mask := range masks {
		if err := outputOf(w).show(maskCommand(mask) + "\n"); err != nil {
			return fmt.Errorf("mask secrets: %w", err)
		}
	}
	return nil
}
