package probe

import (
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestProgramReportsWhatItSees(t *testing.T) {
	for _, system := range matrix.Systems() {
		t.Run(string(system), func(t *testing.T) {
			native := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
			compatible := system.Machine() == native || system == "i686-linux" && native == "x86_64"
			var emulator []string
			if !compatible && binfmt.Find(system) == nil {
				qemu, err := exec.LookPath("qemu-" + system.Emulator() + "-static")
				if err != nil {
					t.Skipf("nothing runs programs of %s: apt-get install qemu-user-static", system)
				}
				emulator = []string{qemu}
			}
			dir := t.TempDir()
			program, out, input := filepath.Join(dir, Name), filepath.Join(dir, "out"), filepath.Join(dir, "input")
			if err := errors.Join(os.WriteFile(program, ELF(system), 0o755), os.WriteFile(input, []byte("input"), 0o444)); err != nil {
				t.Fatal(err)
			}
			command := append(emulator, program, out, input)
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Dir = dir
			if err := cmd.Run(); err != nil {
				t.Fatalf("run probe: %v", err)
			}
			data, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if r.Machine != machineOf(system, native) || r.Dir != dir || r.Memlock == 0 || r.Sandboxed() {
				t.Errorf("Parse = %+v, want machine %s and directory %s", r, system.Machine(), dir)
			}
			info, err := os.Stat(input)
			if err != nil || info.Mode() != 0o444 || info.Size() != 5 || !r.WritableInputs {
				t.Errorf("WritableInputs = %t of a file of this user; it is now %v, %v", r.WritableInputs, info, err)
			}
			if r.Emulated() == compatible {
				t.Errorf("Emulated = %t on %s: it was executed by %q", r.Emulated(), native, r.Exe)
			}
			if r.Cores != runtime.NumCPU() || r.Kernel != binfmt.Kernel() {
				t.Errorf("Parse = %d cores, kernel %q; want %d, %q", r.Cores, r.Kernel, runtime.NumCPU(), binfmt.Kernel())
			}
		})
	}
}

func TestMissingInputIsNotWritable(t *testing.T) {
	dir := t.TempDir()
	program, out := filepath.Join(dir, Name), filepath.Join(dir, "out")
	native := matrix.System(map[string]string{"amd64": "x86_64-linux", "arm64": "aarch64-linux"}[runtime.GOARCH])
	if err := os.WriteFile(program, ELF(native), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, inputs := range [][]string{nil, {filepath.Join(dir, "absent")}} {
		if err := exec.Command(program, append([]string{out}, inputs...)...).Run(); err != nil {
			t.Fatalf("run probe: %v", err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Parse(data); err != nil || r.WritableInputs {
			t.Errorf("with the inputs %q, Parse = %+v, %v", inputs, r, err)
		}
		os.Remove(out)
	}
}

func TestParseRefusesShortOutput(t *testing.T) {
	for _, n := range []int{0, 16, dirAt} {
		if _, err := Parse(make([]byte, n)); err == nil {
			t.Errorf("Parse of %d bytes: no error", n)
		}
	}
}

func TestCodeIsAssembledFromItsSource(t *testing.T) {
	for _, system := range matrix.Systems() {
		prefix := map[string]string{
			"x86_64": "x86_64-linux-gnu-", "aarch64": "aarch64-linux-gnu-", "i386": "i686-linux-gnu-", "arm": "arm-linux-gnueabihf-",
			"riscv64": "riscv64-linux-gnu-", "ppc64le": "powerpc64le-linux-gnu-", "s390x": "s390x-linux-gnu-",
			"loongarch64": "x86_64-linux-gnu-", "mips64el": "mips64el-linux-gnuabi64-",
		}[system.Emulator()]
		t.Run(string(system), func(t *testing.T) {
			if _, err := exec.LookPath(prefix + "as"); err != nil {
				t.Skipf("no %sas: apt-get install binutils-%s", prefix, strings.ReplaceAll(strings.TrimSuffix(prefix, "-"), "x86_64", "x86-64"))
			}
			dir := t.TempDir()
			object, text := filepath.Join(dir, "o"), filepath.Join(dir, "text")
			for _, args := range [][]string{
				{prefix + "as", system.Emulator() + ".asm", "-o", object},
				{prefix + "objcopy", "-O", "binary", "-j", ".text", object, text},
			} {
				if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			got, err := os.ReadFile(text)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got) != code[system.Emulator()] {
				t.Errorf("code of %s is not that of its source; it should be\n%x", system, got)
			}
		})
	}
}

// machineOf is uname's machine where a program of the system runs. A 32-bit program on a 64-bit processor sees that of the
// kernel, unless its personality is that of Nix's builders; QEMU's processor for 32-bit ARM is the newest.
func machineOf(s matrix.System, native string) string {
	switch {
	case s == "i686-linux" && native == "x86_64":
		return native
	case s == "armv6l-linux":
		return "armv7l"
	}
	return s.Machine()
}
