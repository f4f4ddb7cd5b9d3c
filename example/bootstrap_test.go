package example

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBootstrap makes the two committed binaries again from their source. Other compilers make
// other bytes, so it needs the one that nixpkgs/bootstrap/README.md names.
func TestBootstrap(t *testing.T) {
	const compiler = "(Debian 12.2.0-14"
	dir := abs(t, "flake/nixpkgs/bootstrap")
	for _, arch := range []string{"x86_64", "aarch64"} {
		t.Run(arch, func(t *testing.T) {
			gcc, err := exec.LookPath(arch + "-linux-gnu-gcc")
			if err != nil {
				t.Skip("needs the compiler:", err)
			}
			version, err := exec.Command(gcc, "--version").Output()
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(version), "\n")
			if !strings.Contains(line, compiler) {
				t.Skipf("needs GCC %s…), not %s", compiler, line)
			}
			out := filepath.Join(t.TempDir(), "kit")
			cmd := exec.Command(gcc, "@kit.flags", "-o", out, "kit.c")
			cmd.Dir = dir
			if log, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(dir, arch+"-linux", "kit"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("kit.c compiles to other bytes than %s-linux/kit holds", arch)
			}
		})
	}
}

// TestChecksums checks the README's hashes of the binaries, with or without a compiler.
func TestChecksums(t *testing.T) {
	readme, err := trees.ReadFile("flake/nixpkgs/bootstrap/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range systems {
		kit, err := trees.ReadFile("flake/nixpkgs/bootstrap/" + system + "/kit")
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(kit)
		if !bytes.Contains(readme, []byte("`"+system+"/kit` | `"+hex.EncodeToString(sum[:])+"`")) {
			t.Errorf("bootstrap/README.md has another checksum for %s/kit than %x", system, sum)
		}
	}
}
