package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	nucleoHash = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="
	nucleoHex  = "066a85f547d9f785b7cedc1deecac0499d4b6756cfc6b2390b3c4a7b10ddd836"
	otherHash  = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA="
	drv        = "/nix/store/066a85f547d9f785b7cedc1deecac049-nucleo-4253de9.drv"
)

func TestParseMismatch(t *testing.T) {
	want := Mismatch{Derivation: drv, Specified: otherHash, Got: nucleoHash}
	for _, message := range []string{
		"error: hash mismatch in fixed-output derivation '" + drv + "':\n  specified: " + otherHash + "\n     got:    " + nucleoHash,
		"hash mismatch in fixed-output derivation '" + drv + "': specified: " + otherHash + " got: " + nucleoHash,
	} {
		if got, ok := ParseMismatch(message); !ok || !cmp.Equal(want, got) {
			t.Errorf("%q is %+v, %t", message, got, ok)
		}
	}
	if _, ok := ParseMismatch("builder failed with exit code 1"); ok {
		t.Error("a builder's failure is taken for a mismatch")
	}
}

func TestFixFindsAHashInEveryForm(t *testing.T) {
	for _, form := range []string{nucleoHash, nucleoHex, "sha256:" + nucleoHex, strings.TrimPrefix(nucleoHash, "sha256-")} {
		tree := t.TempDir()
		write(t, filepath.Join(tree, "nix/a.nix"), "{\n  hash = \""+form+"\"; # "+form+"\n}\n")
		write(t, filepath.Join(tree, "b.md"), form)
		write(t, filepath.Join(tree, ".git/c.nix"), form)
		mismatch := Mismatch{Specified: nucleoHash, Got: otherHash}
		want := []Position{{"nix/a.nix", 2, `hash = "` + otherHash + `"; # ` + otherHash}}
		if form == strings.TrimPrefix(nucleoHash, "sha256-") {
			want = nil // without an algorithm it can be any text
		}
		if diff := cmp.Diff(want, mismatch.Locate(tree).Positions); diff != "" {
			t.Errorf("%s: places (-want +got):\n%s", form, diff)
		}
		got, err := Fix(tree, []Mismatch{mismatch})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v; changed (-want +got):\n%s", form, err, diff)
		}
		for _, untouched := range []string{"b.md", ".git/c.nix"} {
			if read(t, filepath.Join(tree, untouched)) != form {
				t.Errorf("%s was changed", untouched)
			}
		}
	}
}

func TestFixGuessesNothing(t *testing.T) {
	tree := t.TempDir()
	file := filepath.Join(tree, "a.nix")
	text := `{ a = "` + fakeHash + `"; b = "` + fakeHash + `"; }`
	write(t, file, text)
	_, err := Fix(tree, []Mismatch{
		{Derivation: drv, Specified: fakeHash, Got: nucleoHash},
		{Derivation: "/nix/store/00000000000000000000000000000000-other.drv", Specified: fakeHash, Got: otherHash},
	})
	if err == nil || !strings.Contains(err.Error(), "for nucleo-4253de9 and") || !strings.Contains(err.Error(), "for other;") {
		t.Errorf("error %v, want both fetches named", err)
	}
	if read(t, file) != text {
		t.Error("the file was changed")
	}
}

func TestFixStaticCopiesFromTheOtherFile(t *testing.T) {
	tree := writeExample(t)
	headless, desktop := filepath.Join(tree, headlessFile), filepath.Join(tree, desktopFile)
	before := [2]string{read(t, headless), read(t, desktop)}
	replace(t, headless, nucleoLine, "")
	replace(t, desktop, clientLine, "")
	if err := os.Chmod(desktop, 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := openSesame().FixStatic(tree)
	if err != nil || len(changed) != 2 {
		t.Fatalf("changed %v, error %v", changed, err)
	}
	if read(t, headless) != before[0] {
		t.Errorf("the headless file is now\n%s", read(t, headless))
	}
	for _, r := range openSesame().Static(tree, today) {
		if r.Status == Fail {
			t.Errorf("%s: %s", r.Check, r.Reason)
		}
	}
	if info, err := os.Stat(desktop); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v: want the file's own", info.Mode(), err)
	}
	if again, err := openSesame().FixStatic(tree); err != nil || len(again) > 0 {
		t.Errorf("a second time it changes %v, error %v", again, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
