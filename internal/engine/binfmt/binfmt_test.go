package binfmt

import (
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestParse(t *testing.T) {
	const aarch64 = "interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	for name, test := range map[string]struct {
		text   string
		system matrix.System
		want   bool
	}{
		"enabled":         {"enabled\n" + aarch64, matrix.AArch64Linux, true},
		"disabled":        {"disabled\n" + aarch64, matrix.AArch64Linux, false},
		"another machine": {"enabled\n" + aarch64, matrix.X8664Linux, false},
		"no flag F":       {"enabled\ninterpreter /x\nflags: PO\nmagic 7f454c460201010000000000000000000200b700\n", matrix.AArch64Linux, false},
		"a script":        {"enabled\ninterpreter /x\nflags: F\nextension .py\n", matrix.AArch64Linux, false},
		"status":          {"enabled\n", matrix.AArch64Linux, false},
	} {
		e, ok := parse(test.text, test.system)
		if ok != test.want || ok && e.Interpreter != "/usr/libexec/qemu-binfmt/aarch64-binfmt-P" {
			t.Errorf("%s: %+v, %t, want %t", name, e, ok, test.want)
		}
	}
}

// The magic bytes of Debian's package of QEMU, for each system that it emulates.
func TestParseFindsTheEntryOfEachSystem(t *testing.T) {
	const elf64, elf32, big = "7f454c46020101000000000000000000", "7f454c46010101000000000000000000", "7f454c46020201000000000000000000"
	entries := map[matrix.System]string{
		matrix.X8664Linux: elf64 + "02003e00", matrix.AArch64Linux: elf64 + "0200b700", "i686-linux": elf32 + "02000300",
		"armv7l-linux": elf32 + "02002800", "riscv64-linux": elf64 + "0200f300", "powerpc64le-linux": elf64 + "02001500",
		"s390x-linux": big + "00020016", "loongarch64-linux": elf64 + "02000201", "mips64el-linux": elf64 + "02000800",
	}
	entries["armv6l-linux"] = entries["armv7l-linux"]
	for of, magic := range entries {
		for _, s := range matrix.Systems() {
			_, ok := parse("enabled\ninterpreter /x\nflags: POF\noffset 0\nmagic "+magic+"\n", s)
			if want := magic == entries[s]; ok != want {
				t.Errorf("the entry of %s is for %s: %t, want %t", of, s, ok, want)
			}
		}
	}
	if len(entries) != len(matrix.Systems()) {
		t.Errorf("%d entries for %d systems", len(entries), len(matrix.Systems()))
	}
}

func TestConfigFileIsThatOfDebian(t *testing.T) {
	if _, err := os.Stat(ConfigFile("riscv64-linux")); err != nil {
		t.Skip("needs qemu-user-static of Debian:", err)
	}
	for _, s := range matrix.Systems() {
		if s == matrix.X8664Linux || s == "i686-linux" { // absent on x86_64
			continue
		}
		data, err := os.ReadFile(ConfigFile(s))
		if err != nil || !strings.Contains(string(data), "qemu-"+s.Emulator()) {
			t.Errorf("entry of %s: %q, %v", s, data, err)
		}
	}
}
