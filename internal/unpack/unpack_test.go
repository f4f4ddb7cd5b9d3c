package unpack

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func arMember(name, contents string) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", name, 0, 0, 0, "644", len(contents), contents+strings.Repeat("\n", len(contents)%2))
}

// GNU ar has names of more than 15 bytes in a table, BSD ar has them in front of the contents.
func TestNamesOfArMembers(t *testing.T) {
	const names = "a_very_long_member_name_indeed.o/\nanother_name_that_is_long.o/\n"
	data := []byte(arMagic + arMember("/", "symbols") + arMember("//", names) + arMember("/0", "1") + arMember("/34", "2") + arMember("/999", "3") +
		arMember("short.o/", "4") + arMember("#1/20", "a_long_name_of_bsd.o5") + arMember("short.o/", "6"))
	members, err := FormatOf("x.a", data).Members(data, NewBudget())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range members {
		got = append(got, m.Name+" "+string(m.Data))
	}
	want := []string{
		"ar symbol table symbols", "ar member a_very_long_member_name_indeed.o 1", "ar member another_name_that_is_long.o 2",
		"ar member /999 3", "ar member short.o 4", "ar member a_long_name_of_bsd.o 5", "ar member short.o (2) 6",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Everything that is unpacked with one budget counts.
func TestBudget(t *testing.T) {
	data := []byte(arMagic + arMember("a", "12345") + arMember("b", "12345"))
	f, left := FormatOf("x.a", data), &Budget{bytes: 15, members: 10}
	if _, err := f.Members(data, left); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Members(data, left); err != ErrTooLarge {
		t.Errorf("bytes: %v", err)
	}
	if _, err := f.Members(data, &Budget{bytes: 15, members: 1}); err != ErrTooLarge {
		t.Errorf("members: %v", err)
	}
}

// Reading ends within the budget, for any input.
func FuzzMembers(f *testing.F) {
	f.Add("m.pyc", []byte("\xcb\x0d\r\n\x00\x00\x00\x00\x01\x6e\x06\x6b\x10\x00\x00\x00code"))
	f.Add("a", []byte(arMagic+arMember("/0", "1")))
	f.Add("a", []byte("PK\x03\x04"))
	f.Add("a", []byte("\x7fELF\x02\x01\x01"))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = io.WriteString(w, "text")
	_ = w.Close()
	f.Add("a", z.Bytes())
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		format := FormatOf(name, data)
		if format == nil {
			return
		}
		members, err := format.Members(data, &Budget{bytes: 1 << 16, members: 100})
		size := 0
		for _, m := range members {
			size += len(m.Data)
		}
		if err == nil && (len(members) > 100 || size > 1<<16) {
			t.Errorf("%d members, %d bytes", len(members), size)
		}
	})
}
