// Package binfmt reads which foreign programs the kernel runs with which emulator.
// See https://docs.kernel.org/admin-guide/binfmt-misc.html.
package binfmt

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Dir is the directory with the kernel's entries.
const Dir = "/proc/sys/fs/binfmt_misc"

// Entry is the kernel's rule for programs of one machine.
type Entry struct {
	Interpreter string // path of the emulator
}

// Find returns the enabled entry with flag F for programs of the system, or nil if there is none.
//
// With flag F, the kernel opened the emulator when the entry was registered. Only such an entry works inside a sandbox or
// container, where the emulator's path does not exist.
func Find(system matrix.System) *Entry {
	files, _ := os.ReadDir(Dir)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(Dir, f.Name()))
		if e, ok := parse(string(data), system); err == nil && ok {
			return &e
		}
	}
	return nil
}

// parse reads the text of an entry, and reports whether it is enabled, has flag F, and is for ELF programs of the system.
func parse(text string, system matrix.System) (e Entry, ok bool) {
	enabled, fixed, matches := false, false, false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "enabled":
			enabled = true
		case "interpreter":
			e.Interpreter = value
		case "flags:":
			fixed = strings.Contains(value, "F")
		case "magic":
			matches = isFor(value, system)
		}
	}
	return e, enabled && fixed && matches
}

func isFor(magic string, system matrix.System) bool {
	header, err := hex.DecodeString(magic)
	found, ok := matrix.ELFOf(header)
	return err == nil && ok && found == system.ELF()
}
