// Package probe has the smallest builder: a program of about 380 bytes for each system, whose output describes the machine
// that the builder sees.
//
// It needs no libc, no shell and no network, so it runs in an empty sandbox. It has the machine code of the system, so a
// foreign one needs an emulator.
package probe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// code has the machine code of x86_64.asm and aarch64.asm. A test assembles these files again.
var code = map[matrix.System]string{
	matrix.X8664Linux: "4c8b6424104c8b7424184881ec0020000031ffbe0800000031d24989e2b82e0100000f05488d7c2410b83f0000000f0531ffbe00040000488d9424a0010000b8" +
		"cc0000000f054889842498010000488d3da1000000488db424a8050000ba00040000b8590000000f0548898424a00500004c89f7bea4010000b85a0000000f05" +
		"4c89f7be01000000b8020000000f0548898424a80900004c89f7be24010000b85a0000000f05488dbc24b0090000be00040000b84f0000000f054189c54c89e7" +
		"be41020000ba24010000b8020000000f0589c74889e6418d95b0090000b8010000000f0531ff3db0090000400f9ec7b83c0000000f052f70726f632f2e2f7365" +
		"6c662f65786500",
	matrix.AArch64Linux: "f35741a9ff0b40d1000080d2010180d2020080d2e3030091a82080d2010000d4e0430091081480d2010000d4000080d2018080d2e2830691680f80d2010000d4" +
		"e0cf00f9600c809221050010e2a31691038080d2c80980d2010000d4e0d302f9600c8092e10315aa823480d2a80680d2010000d4600c8092e10315aa220080d2" +
		"080780d2010000d4e0d704f9600c8092e10315aa822480d2a80680d2010000d4e0c32691018080d2280280d2010000d4f40300aa600c8092e10313aa224880d2" +
		"832480d2080780d2010000d4e103009182c22691080880d2010000d41fc026f1e0c79f9aa80b80d2010000d42f70726f632f2e2f73656c662f65786500",
}

// Numbers of the ELF format, System V ABI, chapter 4.
const (
	ehdrSize = 64
	phdrSize = 56
	loadAt   = 0x400000
)

// ELF returns the program for the system: an executable whose arguments are the path to write to, and one of its inputs.
func ELF(s matrix.System) []byte {
	text, err := hex.DecodeString(code[s])
	if err != nil || len(text) == 0 {
		panic(fmt.Sprintf("probe: no machine code for %s", s)) // the table above is complete
	}
	machine := map[matrix.System]uint16{matrix.X8664Linux: 62, matrix.AArch64Linux: 183}[s]
	size := uint64(ehdrSize + phdrSize + len(text))
	header := struct {
		Ident                                           [16]byte
		Type, Machine                                   uint16
		Version                                         uint32
		Entry, Phoff, Shoff                             uint64
		Flags                                           uint32
		Ehsize, Phentsize, Phnum, Shentsize, Shnum, Shx uint16
		PType, PFlags                                   uint32
		Offset, Vaddr, Paddr, Filesz, Memsz, Align      uint64
	}{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: 2, Machine: machine, Version: 1,
		Entry: loadAt + ehdrSize + phdrSize, Phoff: ehdrSize, Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: 1,
		PType: 1, PFlags: 5, Vaddr: loadAt, Paddr: loadAt, Filesz: size, Memsz: size, Align: 0x10000,
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, header) // a bytes.Buffer returns no error
	b.Write(text)
	return b.Bytes()
}

// Name is the required name of the program's file: by this name, [Report.Emulated] recognises the executed file.
const Name = "probe"

// Expression returns the Nix expression of a derivation that runs the program at path.
// With a new nonce, it was never built before, and no other derivation uses its input.
func Expression(s matrix.System, path, nonce string) string {
	return fmt.Sprintf(`derivation { name = "probe-%s"; system = %q; builder = builtins.path { path = %q; name = %q; }; args = [ (placeholder "out") (builtins.toFile "probe-input" %q) ]; }`,
		s, s, path, Name, nonce)
}

// Report describes the machine that a builder sees.
type Report struct {
	// Memlock is the limit of locked memory in bytes; -1 is without limit.
	Memlock int64
	// Machine is the processor's name by uname: "x86_64" or "aarch64".
	Machine string
	// Kernel is the release of the kernel by uname.
	Kernel string
	// Cores is the number of processors that it may run on.
	Cores int
	// Dir is its working directory: "/build" in a sandbox, another one outside.
	Dir string
	// Exe is the file that the kernel executes: the program itself, or the emulator that runs it. Empty if the builder has
	// no /proc.
	Exe string
	// WritableInputs reports whether it could open one of its inputs for writing, after it changed the file's mode.
	WritableInputs bool
}

// Sandboxed reports whether the builder ran in a sandbox: only there, its directory is /build.
// See https://nix.dev/manual/nix/latest/command-ref/conf-file#conf-sandbox-build-dir.
func (r Report) Sandboxed() bool { return r.Dir == "/build" }

// Emulated reports whether an emulator ran the program.
func (r Report) Emulated() bool { return r.Exe != "" && !strings.HasSuffix(r.Exe, Name) }

// Layout of the program's output, the same on both processors: struct rlimit, struct utsname, the results of
// sched_getaffinity and readlink, each before its buffer, that of open, and the directory with a final NUL.
const (
	utsAt    = 16
	utsField = 65 // bytes of each of the six fields of struct utsname
	coresAt  = 408
	exeAt    = 1440
	openAt   = 2472
	dirAt    = 2480
	bufSize  = 1024
)

// Parse reads the output of the program.
func Parse(out []byte) (Report, error) {
	if len(out) <= dirAt {
		return Report{}, fmt.Errorf("parse output of probe: %d bytes, want more than %d", len(out), dirAt)
	}
	text := func(b []byte) string { s, _, _ := strings.Cut(string(b), "\x00"); return s }
	uts := func(i int) string { return text(out[utsAt+i*utsField:][:utsField]) }
	r := Report{Memlock: -1, Kernel: uts(2), Machine: uts(4), Dir: text(out[dirAt:]), Exe: string(result(out[exeAt:]))}
	r.WritableInputs = int64(binary.LittleEndian.Uint64(out[openAt:])) >= 0
	if limit := binary.LittleEndian.Uint64(out); limit <= math.MaxInt64 {
		r.Memlock = int64(limit)
	}
	for _, b := range result(out[coresAt:]) {
		r.Cores += bits.OnesCount8(b)
	}
	return r, nil
}

// result returns the output of a system call in its buffer. Before it is the result of the call: the length, or a negative
// error number.
func result(out []byte) []byte {
	n := int64(binary.LittleEndian.Uint64(out))
	return out[8:][:min(max(n, 0), bufSize)]
}
