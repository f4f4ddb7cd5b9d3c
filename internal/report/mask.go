package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// leastMask is the shortest text that is worth hiding: of anything shorter, the log would be full by chance.
const leastMask = 8

// Mask tells GitHub's runner, which reads along on w and swallows these lines, to hide secrets in all that comes after:
// whole, and each line of them, and each half of a key "name:base64". It is of use to nobody but the runner.
func Mask(w io.Writer, secrets []string) error {
	var masks []string
	add := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= leastMask && !slices.Contains(masks, text) {
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
