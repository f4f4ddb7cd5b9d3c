package binfmt

import (
	"os"
	"path/filepath"
	"testing"
)

func TestVersion(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// As Debian's entry does, by a name under which it would not take the option.
	link := filepath.Join(dir, "aarch64-binfmt-P")
	if err := os.Symlink(script("qemu", `case $0 in *-P) exit 1;; esac; echo "qemu-aarch64 version 7.2.22 (Debian)"; echo "Copyright"`), link); err != nil {
		t.Fatal(err)
	}
	for interpreter, want := range map[string]string{
		link:                               "qemu-aarch64 version 7.2.22 (Debian)",
		script("silent", "exit 0"):         "",
		script("broken", "echo x; exit 1"): "",
		filepath.Join(dir, "gone"):         "",
	} {
		if got := (Entry{Interpreter: interpreter}).Version(t.Context()); got != want {
			t.Errorf("version of %s: %q, want %q", interpreter, got, want)
		}
	}
	first, second := Boot(), Boot()
	if Kernel() == "" || first == "" || first != second {
		t.Errorf("kernel %q, boot %q and %q", Kernel(), first, second)
	}
}
