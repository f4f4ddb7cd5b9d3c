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

// Entry is the kernel's rule for programs of one kind.
type Entry struct {
	Name        string
	Interpreter string // path of the emulator
	Flags       string // such as "POF"
}

// Fixed reports flag F: the kernel opened the emulator when the entry was registered.
// Only such an entry works inside a sandbox or container, where the emulator's path does not exist.
func (e Entry) Fixed() bool { return strings.Contains(e.Flags, "F") }

// ELF machine numbers, at offset 18 of the header, little endian.
var elfMachines = map[string]string{"x86_64": "3e00", "aarch64": "b700"}

// Find returns the enabled entry with flag F for programs of the machine ("aarch64"), or nil where there is none.
func Find(machine string) *Entry { return find(Dir, machine) }

func find(dir, machine string) *Entry {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			continue
		}
		if e, ok := parse(f.Name(), string(data), machine); ok && e.Fixed() {
			return &e
		}
	}
	return nil
}

// parse reads the text of an entry, and reports whether it is enabled and for 64-bit ELF programs of the machine.
func parse(name, text, machine string) (Entry, bool) {
	e := Entry{Name: name}
	enabled, matches := false, false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "enabled":
			enabled = true
		case "interpreter":
			e.Interpreter = value
		case "flags:":
			e.Flags = value
		case "magic":
			matches = isMachine(value, machine)
		}
	}
	return e, enabled && matches
}

func isMachine(magic, machine string) bool {
	b, err := hex.DecodeString(magic)
	return err == nil && len(b) >= 20 && string(b[:5]) == "\x7fELF\x02" && hex.EncodeToString(b[18:20]) == elfMachines[machine]
}
