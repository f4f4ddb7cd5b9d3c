// Package binfmt reads which foreign programs the kernel runs with which emulator.
// See https://docs.kernel.org/admin-guide/binfmt-misc.html.
package binfmt

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the directory with the kernel's entries.
const Dir = "/proc/sys/fs/binfmt_misc"

// Entry is the kernel's rule for programs of one machine.
type Entry struct {
	Interpreter string // path of the emulator
}

// ELF machine numbers, at offset 18 of the header, little endian.
var elfMachines = map[string]string{"x86_64": "3e00", "aarch64": "b700"}

// Find returns the enabled entry with flag F for programs of the machine ("aarch64"), or nil if there is none.
//
// With flag F, the kernel opened the emulator when the entry was registered. Only such an entry works inside a sandbox or
// container, where the emulator's path does not exist.
func Find(machine string) *Entry {
	files, _ := os.ReadDir(Dir)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(Dir, f.Name()))
		if e, ok := parse(string(data), machine); err == nil && ok {
			return &e
		}
	}
	return nil
}

// parse reads the text of an entry, and reports whether it is enabled, has flag F, and is for 64-bit ELF programs of the
// machine.
func parse(text, machine string) (e Entry, ok bool) {
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
			matches = isMachine(value, machine)
		}
	}
	return e, enabled && fixed && matches
}

func isMachine(magic, machine string) bool {
	b, err := hex.DecodeString(magic)
	return err == nil && len(b) >= 20 && string(b[:5]) == "\x7fELF\x02" && hex.EncodeToString(b[18:20]) == elfMachines[machine]
}
