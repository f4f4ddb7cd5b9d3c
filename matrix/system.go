package matrix

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// System is a Nix system string: the machine and operating system that a derivation is built on.
type System string

// The systems that a release is made for if nothing names others.
const (
	X8664Linux   System = "x86_64-linux"
	AArch64Linux System = "aarch64-linux"
)

// facts are the names of a system's processor in other programs.
type facts struct {
	system   System
	machine  string // by uname
	platform string // in OCI images
	emulator string // of QEMU: qemu-NAME-static
	elf      ELF
}

// ELF identifies programs of a system: fields of the ELF header, System V ABI, chapter 4.
type ELF struct {
	Class   elf.Class
	Data    elf.Data
	Machine elf.Machine
}

// known are all systems, in the order in which tables and manifests show them. Their names are those of Nix
// (lib.systems.doubles of nixpkgs), the platforms those of Go and OCI. Each has a probe.
var known = []facts{
	{X8664Linux, "x86_64", "linux/amd64", "x86_64", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_X86_64}},
	{AArch64Linux, "aarch64", "linux/arm64", "aarch64", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_AARCH64}},
	{"i686-linux", "i686", "linux/386", "i386", ELF{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_386}},
	{"armv7l-linux", "armv7l", "linux/arm/v7", "arm", ELF{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_ARM}},
	{"armv6l-linux", "armv6l", "linux/arm/v6", "arm", ELF{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_ARM}},
	{"riscv64-linux", "riscv64", "linux/riscv64", "riscv64", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_RISCV}},
	{"powerpc64le-linux", "ppc64le", "linux/ppc64le", "ppc64le", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_PPC64}},
	{"s390x-linux", "s390x", "linux/s390x", "s390x", ELF{elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_S390}},
	{"loongarch64-linux", "loongarch64", "linux/loong64", "loongarch64", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_LOONGARCH}},
	{"mips64el-linux", "mips64", "linux/mips64le", "mips64el", ELF{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_MIPS}},
}

// Systems lists every known system in the order in which tables and manifests show them.
func Systems() []System {
	all := make([]System, len(known))
	for i, k := range known {
		all[i] = k.system
	}
	return all
}

// DefaultSystems lists the systems that a release is made for if nothing names others.
func DefaultSystems() []System { return []System{X8664Linux, AArch64Linux} }

// otherOS are operating systems that Nix has systems of, beside Linux.
var otherOS = []string{"darwin", "freebsd", "openbsd", "netbsd", "cygwin", "windows"}

// ParseSystem returns the system that s names, or an error with a hint that names the nearest one.
func ParseSystem(s string) (System, error) {
	if slices.Contains(Systems(), System(s)) {
		return System(s), nil
	}
	if _, os, ok := strings.Cut(s, "-"); ok && slices.Contains(otherOS, os) {
		return "", fmt.Errorf("parse system %q: not supported: Linux only", s)
	}
	err := fmt.Errorf("parse system %q: not one of %v", s, Systems())
	if near := hint.Nearest(s, Systems(), 1); len(near) > 0 {
		err = hint.Wrap(err, "did you mean %s?", near[0])
	}
	return "", err
}

// ByPlatform returns the system of a platform of an OCI image, such as "linux/arm64" or "linux/arm/v7". A variant that
// distinguishes no systems, such as that of "linux/arm64/v8", does not count.
func ByPlatform(platform string) (System, bool) {
	name := func(k facts) bool { return k.platform == platform }
	i := slices.IndexFunc(known, name)
	if parts := strings.Split(platform, "/"); i < 0 && len(parts) > 1 {
		i = slices.IndexFunc(known, func(k facts) bool {
			return k.platform == parts[0]+"/"+parts[1] || len(parts) == 2 && strings.HasPrefix(k.platform, platform+"/")
		})
	}
	if i < 0 {
		return "", false
	}
	return known[i].system, true
}

// ByELF returns the first system whose programs have that ELF header.
func ByELF(header ELF) (System, bool) {
	i := slices.IndexFunc(known, func(k facts) bool { return k.elf == header })
	if i < 0 {
		return "", false
	}
	return known[i].system, true
}

// facts returns those of s, which [ParseSystem] has accepted; the zero value for another one.
func (s System) facts() facts {
	if i := slices.IndexFunc(known, func(k facts) bool { return k.system == s }); i >= 0 {
		return known[i]
	}
	return facts{}
}

// Machine returns the processor's name by uname, such as "x86_64".
func (s System) Machine() string { return s.facts().machine }

// Platform returns the name of s in OCI images and in Dagger, such as "linux/amd64".
func (s System) Platform() string { return s.facts().platform }

// RunsOn reports whether a processor of a native system runs programs of s: an x86_64 one runs those of i686-linux.
func (s System) RunsOn(native System) bool {
	return s == native || s == "i686-linux" && native == X8664Linux
}

// Emulator returns the name of the processor in QEMU: the program is qemu-NAME.
func (s System) Emulator() string { return s.facts().emulator }

// ELF returns what identifies programs of s.
func (s System) ELF() ELF { return s.facts().elf }

// ELFOf reads the header of an ELF file.
func ELFOf(header []byte) (ELF, bool) {
	if len(header) < 20 || string(header[:4]) != elf.ELFMAG {
		return ELF{}, false
	}
	e := ELF{Class: elf.Class(header[elf.EI_CLASS]), Data: elf.Data(header[elf.EI_DATA])}
	e.Machine = elf.Machine(e.Order().Uint16(header[18:]))
	return e, true
}

// Order returns the byte order of the programs.
func (e ELF) Order() binary.ByteOrder {
	if e.Data == elf.ELFDATA2MSB {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
