// Package unpack reads what is in archives, compressed files and ELF files. Input can be hostile: memory and time are
// bounded by a budget.
package unpack

import (
	"errors"
	"fmt"
	"io"
)

// Limits of a budget.
const (
	MaxBytes   = 64 << 20
	MaxMembers = 1 << 16
)

// ErrTooLarge says that a file exceeds its budget.
var ErrTooLarge = errors.New("too large")

// Budget is what may still be unpacked: one for a file and all that is nested in it.
type Budget struct {
	bytes   int64
	members int
}

func NewBudget() *Budget { return &Budget{MaxBytes, MaxMembers} }

type Format struct {
	Name string
	// is looks at the name and the first bytes of a file.
	is func(name string, data []byte) bool
	// read calls add for each member, in the order of the file. It returns the first error of add.
	read func(data []byte, add addFunc) error
}

type addFunc func(name string, header []Field, contents io.Reader) error

// Member is a file in an archive, a section of an ELF file, or the contents of a compressed file.
type Member struct {
	// Name says what it is: "tar member doc/a", "section .text". It is unique within the file.
	Name   string
	Header []Field
	Data   []byte
}

type Field struct{ Name, Value string }

// FormatOf returns the format of a file; nil if it is none of those that can be unpacked.
func FormatOf(name string, data []byte) *Format {
	for i := range formats {
		if f := &formats[i]; f.is(name, data) {
			return f
		}
	}
	return nil
}

// Members reads all members of a file. The error is [ErrTooLarge] if that exceeds the budget.
func (f *Format) Members(data []byte, left *Budget) ([]Member, error) {
	var all []Member
	seen := map[string]int{}
	err := f.read(data, func(name string, header []Field, contents io.Reader) error {
		if left.members--; left.members < 0 {
			return ErrTooLarge
		}
		unpacked, err := io.ReadAll(io.LimitReader(contents, left.bytes+1))
		if err != nil {
			return err
		}
		if left.bytes -= int64(len(unpacked)); left.bytes < 0 {
			return ErrTooLarge
		}
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
		all = append(all, Member{name, header, unpacked})
		return nil
	})
	return all, err
}
