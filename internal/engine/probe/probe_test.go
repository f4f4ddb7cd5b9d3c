package probe

import (
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/binfmt"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestProgramReportsWhatItSees(t *testing.T) {
	for _, system := range matrix.Systems() {
		t.Run(string(system), func(t *testing.T) {
			native := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
			if system.Machine() != native && binfmt.Find(system.Machine()) == nil {
				t.Skipf("the kernel has no binfmt entry for %s: apt-get install qemu-user-static", system.Machine())
			}
			dir := t.TempDir()
			program, out, input := filepath.Join(dir, Name), filepath.Join(dir, "out"), filepath.Join(dir, "input")
			if err := errors.Join(os.WriteFile(program, ELF(system), 0o755), os.WriteFile(input, []byte("input"), 0o444)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, out, input)
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
			if r.Machine != system.Machine() || r.Dir != dir || r.Memlock == 0 || r.Sandboxed() {
				t.Errorf("Parse = %+v, want machine %s and directory %s", r, system.Machine(), dir)
			}
			info, err := os.Stat(input)
			if err != nil || info.Mode() != 0o444 || info.Size() != 5 || !r.WritableInputs {
				t.Errorf("WritableInputs = %t of a file of this user; it is now %v, %v", r.WritableInputs, info, err)
			}
			if r.Emulated() != (system.Machine() != native) {
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
	for system, prefix := range map[matrix.System]string{
		matrix.X8664Linux: "x86_64-linux-gnu-", matrix.AArch64Linux: "aarch64-linux-gnu-",
	} {
		t.Run(string(system), func(t *testing.T) {
			if _, err := exec.LookPath(prefix + "as"); err != nil {
				t.Skipf("no %sas: apt-get install binutils-%slinux-gnu", prefix, map[bool]string{true: "aarch64-", false: "x86-64-"}[system == matrix.AArch64Linux])
			}
			dir := t.TempDir()
			object, text := filepath.Join(dir, "o"), filepath.Join(dir, "text")
			for _, args := range [][]string{
				{prefix + "as", system.Machine() + ".asm", "-o", object},
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
			if hex.EncodeToString(got) != code[system] {
				t.Errorf("code of %s is not that of its source; it should be\n%x", system, got)
			}
		})
	}
}
