// Package probe has the smallest builder: a program of about 500 bytes for each system, whose output describes the machine
// that the builder sees.
//
// It needs no libc, no shell and no network, so it runs in an empty sandbox. It has the machine code of the system, so a
// foreign one needs an emulator.
package probe

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

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

// Layout of the program's output, the same on all processors: struct rlimit, struct utsname, the results of
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
	order := byteOrder(uts(4))
	r := Report{Memlock: -1, Kernel: uts(2), Machine: uts(4), Dir: text(out[dirAt:]), Exe: string(result(out[exeAt:], order))}
	r.WritableInputs = int64(order.Uint64(out[openAt:])) >= 0
	if limit := order.Uint64(out); limit <= math.MaxInt64 {
		r.Memlock = int64(limit)
	}
	for _, b := range result(out[coresAt:], order) {
		r.Cores += bits.OnesCount8(b)
	}
	return r, nil
}

// result returns the output of a system call in its buffer. Before it is the result of the call: the length, or a negative
// error number.
func result(out []byte, order binary.ByteOrder) []byte {
	n := int64(order.Uint64(out))
	return out[8:][:min(max(n, 0), bufSize)]
}

// byteOrder returns the order of the machine's numbers.
func byteOrder(machine string) binary.ByteOrder {
	for _, s := range matrix.Systems() {
		if s.Machine() == machine {
			return s.ELF().Order()
		}
	}
	return binary.LittleEndian
}
