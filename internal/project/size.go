package project

import (
	"encoding"
	"fmt"
	"strconv"
)

// Size is a number of bytes.
type Size int64

var (
	_ encoding.TextUnmarshaler = new(Size)
	_ encoding.TextMarshaler   = Size(0)
)

// ParseSize parses a size such as 256M: K, M and G are powers of 1024.
func ParseSize(s string) (Size, error) {
	if s == "" {
		return 0, fmt.Errorf("parse size: it is empty")
	}
	shift := map[byte]uint{'K': 10, 'M': 20, 'G': 30}[s[len(s)-1]]
	digits := s
	if shift > 0 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("parse size %q: want a number, or a number with K, M or G", s)
	}
	return Size(n << shift), nil
}

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText returns the same as String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the size in the largest unit that gives a whole number.
func (s Size) String() string {
	for _, unit := range []struct {
		shift int
		name  string
	}{{30, "G"}, {20, "M"}, {10, "K"}} {
		if n := s >> unit.shift; n > 0 && n<<unit.shift == s {
			return fmt.Sprint(int64(n), unit.name)
		}
	}
	return fmt.Sprint(int64(s))
}
