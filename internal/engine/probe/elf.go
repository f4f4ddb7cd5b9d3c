package probe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// loadAt is the address of the file in memory.
const loadAt = 0x400000

// startAt is the place of the first instruction in the code, after a text.
const startAt = 20

// flags are e_flags of the ELF header, which name the binary interface, for the machines that need them.
var flags = map[elf.Machine]uint32{elf.EM_ARM: 0x05000000, elf.EM_PPC64: 2, elf.EM_LOONGARCH: 3, elf.EM_MIPS: 0x80000007}

// ELF returns the program for the system: an executable whose arguments are the path to write to, and one of its inputs.
func ELF(s matrix.System) []byte {
	text, err := hex.DecodeString(code[s.Emulator()])
	if err != nil || len(text) == 0 {
		panic(fmt.Sprintf("probe: no machine code for %s", s)) // the table is complete
	}
	e := s.ELF()
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(e.Class), byte(e.Data), byte(elf.EV_CURRENT)}
	const align, access = 0x10000, uint32(elf.PF_R | elf.PF_X)
	var header, segment any
	if e.Class == elf.ELFCLASS32 {
		const ehdr, phdr = 52, 32
		size := uint32(ehdr + phdr + len(text))
		header = elf.Header32{
			Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(e.Machine), Version: 1, Flags: flags[e.Machine],
			Entry: loadAt + ehdr + phdr + startAt, Phoff: ehdr, Ehsize: ehdr, Phentsize: phdr, Phnum: 1,
		}
		segment = elf.Prog32{Type: uint32(elf.PT_LOAD), Flags: access, Vaddr: loadAt, Paddr: loadAt, Filesz: size, Memsz: size, Align: align}
	} else {
		const ehdr, phdr = 64, 56
		size := uint64(ehdr + phdr + len(text))
		header = elf.Header64{
			Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(e.Machine), Version: 1, Flags: flags[e.Machine],
			Entry: loadAt + ehdr + phdr + startAt, Phoff: ehdr, Ehsize: ehdr, Phentsize: phdr, Phnum: 1,
		}
		segment = elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: access, Vaddr: loadAt, Paddr: loadAt, Filesz: size, Memsz: size, Align: align}
	}
	var b bytes.Buffer
	write(&b, e.Order(), header)
	write(&b, e.Order(), segment)
	b.Write(text)
	return b.Bytes()
}

func write(w io.Writer, order binary.ByteOrder, data any) {
	_ = binary.Write(w, order, data) // a bytes.Buffer returns no error
}
