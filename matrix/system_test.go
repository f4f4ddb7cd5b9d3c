package matrix

import (
	"debug/elf"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

func TestParseSystem(t *testing.T) {
	all := "[x86_64-linux aarch64-linux i686-linux armv7l-linux armv6l-linux riscv64-linux powerpc64le-linux s390x-linux loongarch64-linux mips64el-linux]"
	for name, test := range map[string]struct{ problem, near string }{
		"aarch64-darwin":    {`parse system "aarch64-darwin": not supported: Linux only`, ""},
		"x86_64-freebsd":    {`parse system "x86_64-freebsd": not supported: Linux only`, ""},
		"x86-64-linux":      {`parse system "x86-64-linux": not one of ` + all, "did you mean x86_64-linux?"},
		"riscv-linux":       {`parse system "riscv-linux": not one of ` + all, "did you mean riscv64-linux?"},
		"arm":               {`parse system "arm": not one of ` + all, ""},
		"x86_64-linux":      {},
		"aarch64-linux":     {},
		"i686-linux":        {},
		"armv7l-linux":      {},
		"riscv64-linux":     {},
		"powerpc64le-linux": {},
		"s390x-linux":       {},
	} {
		got, err := ParseSystem(name)
		if err == nil && (test.problem != "" || string(got) != name) || err != nil && err.Error() != test.problem {
			t.Errorf("ParseSystem(%q) = %q, %v, want error %q", name, got, err, test.problem)
		}
		if got := strings.Join(hint.Of(err), "; "); got != test.near {
			t.Errorf("ParseSystem(%q): hint %q, want %q", name, got, test.near)
		}
	}
}

// No system is silently left out because another list has only the default ones.
func TestExpandHasEachSystem(t *testing.T) {
	reversed := Systems()
	slices.Reverse(reversed)
	var got []System
	for _, c := range Expand(reversed, []Package{"a"}) {
		got = append(got, c.System)
	}
	if !slices.Equal(got, Systems()) {
		t.Errorf("cells of %v, want %v", got, Systems())
	}
}

func TestEachSystemIsFoundByItsNames(t *testing.T) {
	for _, s := range Systems() {
		if got, ok := ByPlatform(s.Platform()); !ok || got != s {
			t.Errorf("ByPlatform(%q) = %q, want %s", s.Platform(), got, s)
		}
		got, ok := ByELF(s.ELF())
		if !ok || got != s && s != "armv6l-linux" {
			t.Errorf("ByELF(%v) = %q, want %s", s.ELF(), got, s)
		}
		if s.Machine() == "" || s.Emulator() == "" || s.Runner() == "" {
			t.Errorf("%s lacks a name: %+v", s, s.facts())
		}
	}
	for platform, want := range map[string]System{
		"linux/arm64/v8": AArch64Linux, "linux/amd64/v3": X8664Linux, "linux/arm": "armv7l-linux", "linux/arm/v5": "", "windows/amd64": "", "linux": "", "": "",
	} {
		if got, _ := ByPlatform(platform); got != want {
			t.Errorf("ByPlatform(%q) = %q, want %q", platform, got, want)
		}
	}
}

func TestELFOfReadsTheByteOrder(t *testing.T) {
	header := func(class elf.Class, data elf.Data, machine string) []byte {
		return []byte("\x7fELF" + string([]byte{byte(class), byte(data)}) + strings.Repeat("\x00", 12) + machine)
	}
	for _, test := range []struct {
		header []byte
		want   System
	}{
		{header(elf.ELFCLASS64, elf.ELFDATA2LSB, "\x3e\x00"), X8664Linux},
		{header(elf.ELFCLASS64, elf.ELFDATA2MSB, "\x00\x16"), "s390x-linux"},
		{header(elf.ELFCLASS32, elf.ELFDATA2LSB, "\x28\x00"), "armv7l-linux"},
		{header(elf.ELFCLASS64, elf.ELFDATA2MSB, "\x00\x15"), ""}, // powerpc64, which is not known
		{[]byte("#!/bin/sh -e\n# a script"), ""},
		{[]byte("\x7fELF\x02"), ""},
	} {
		var got System
		if e, ok := ELFOf(test.header); ok {
			got, _ = ByELF(e)
		}
		if got != test.want {
			t.Errorf("system of %x: %q, want %q", test.header, got, test.want)
		}
	}
}
