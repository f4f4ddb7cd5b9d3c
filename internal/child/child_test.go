package child

import (
	"slices"
	"strings"
	"testing"
)

func TestTail(t *testing.T) {
	const limit = 10
	for n := range 50 {
		text := strings.Repeat("0123456789abcdef", n)
		for _, size := range []int{1, 3, limit, 2*limit + 1, len(text) + 1} {
			tail := &Tail{Limit: limit}
			for part := range slices.Chunk([]byte(text), size) {
				if written, err := tail.Write(part); written != len(part) || err != nil {
					t.Fatalf("Write = %d, %v", written, err)
				}
			}
			if want := text[max(0, len(text)-limit):]; tail.String() != want {
				t.Fatalf("%d bytes in parts of %d: %q, want %q", len(text), size, tail.String(), want)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	env := []string{"A=1", "AB=2", "SECRET=x", "A=3", "EMPTY=", "A"}
	if got, want := Select(env, "A", "EMPTY"), []string{"A=1", "A=3", "EMPTY=", "A"}; !slices.Equal(got, want) {
		t.Errorf("Select = %q, want %q", got, want)
	}
	if got, want := Without(env, "A", "SECRET"), []string{"AB=2", "EMPTY="}; !slices.Equal(got, want) {
		t.Errorf("Without = %q, want %q", got, want)
	}
	if env[2] != "SECRET=x" {
		t.Error("Select or Without changes its argument")
	}
	for name, want := range map[string]string{"A": "3", "AB": "2", "EMPTY": "", "B": "not set"} {
		value, ok := Lookup(env, name)
		if !ok {
			value = "not set"
		}
		if value != want {
			t.Errorf("Lookup %s = %q, want %q", name, value, want)
		}
	}
}
