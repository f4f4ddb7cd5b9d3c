package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal. Typed text is what its user types, shown text what the program writes to it.
type terminal struct {
	user, program *os.File
	shown         chan string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	user, program := openTerminal(t)
	terminal := &terminal{user, program, make(chan string, 1)}
	go func() {
		var b bytes.Buffer
		_, _ = io.Copy(&b, user) // it fails when the program's side is closed
		terminal.shown <- strings.ReplaceAll(b.String(), "\r\n", "\n")
	}()
	return terminal
}

// types types a text.
func (t *terminal) types(text string) { _, _ = io.WriteString(t.user, text) }

// end closes the program's side, and returns all that was shown.
func (t *terminal) end() string {
	t.program.Close()
	return <-t.shown
}

func TestAsk(t *testing.T) {
	terminal := newTerminal(t)
	sys := process{stdin: terminal.program, stderr: terminal.program}
	if !sys.canAsk() || (process{stdin: terminal.program, stderr: io.Discard}).canAsk() || (process{stderr: terminal.program}).canAsk() {
		t.Error("a question needs a terminal on both sides, and nothing else")
	}
	terminal.types("wrong\n right \nx\nNO\n\n")
	var got string
	err := sys.ask(t.Context(), "Which?", func(answer string) error {
		if got = answer; answer == "wrong" {
			return errors.New("not that")
		}
		return nil
	})
	if err != nil || got != "right" {
		t.Errorf("answer %q, error %v", got, err)
	}
	for _, want := range []bool{false, true} {
		if yes, err := sys.askYes(t.Context(), "Is it?"); err != nil || yes != want {
			t.Errorf("answer %t, error %v, want %t", yes, err, want)
		}
	}
	terminal.types("\x04") // Ctrl-D
	if _, err := sys.askYes(t.Context(), "Is it?"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("end of input: error %v", err)
	}
	shown := terminal.end()
	if strings.Count(shown, "Which? ") != 2 || !strings.Contains(shown, "not that\n") || strings.Count(shown, "Is it? [Y/n] ") != 4 {
		t.Errorf("shown:\n%s", shown)
	}
}

// A signal ends a question.
func TestQuestionEndsWithTheContext(t *testing.T) {
	terminal := newTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		failed <- process{stdin: terminal.program, stderr: terminal.program}.ask(ctx, "Which?", func(string) error { return nil })
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// init asks on a terminal, also again for an answer that it cannot use. --yes asks nothing.
func TestInitAsks(t *testing.T) {
	t.Parallel()
	store := needsNix(t)
	const key = "mine.cachix.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	for name, test := range map[string]struct {
		typed string
		flags []string
		files map[string][]string // with texts in each; nil for a file that is not written
	}{
		"all": {
			"a b\nmine\n" + key + "\nTOKEN\nn\n\n", nil,
			map[string][]string{
				"nix-release.toml":                  {"\ncachix = \"mine\"\n", "\npublic-key = \"" + key + "\"\n", "\nsecret-env = \"TOKEN\"\n", "\n# contract-file = "},
				"nix-release.contract.toml":         nil,
				".github/workflows/nix-release.yml": {"cachix: \"mine\"", "secrets.TOKEN }}"},
			},
		},
		"defaults": {
			"\n\nn\n", nil,
			map[string][]string{
				"nix-release.toml":                  {"\n# cachix = ", "\ncontract-file = "},
				"nix-release.contract.toml":         {"packages = [\"p\"]"},
				".github/workflows/nix-release.yml": nil,
			},
		},
		"yes": {
			"",
			[]string{"--yes", "--no-contract", "--no-workflow"},
			map[string][]string{"nix-release.toml": {"\n# cachix = "}, "nix-release.contract.toml": nil, ".github/workflows/nix-release.yml": nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			terminal, dir := newTerminal(t), t.TempDir()
			writeTest(t, filepath.Join(dir, "flake.nix"), `{ outputs = _: { packages.x86_64-linux.p = derivation {
				name = "p"; system = "builtin"; builder = "builtin:buildenv"; manifest = builtins.toFile "m" ""; derivations = [ ]; }; }; }`)
			terminal.types(test.typed)
			args := append([]string{"init", dir, "--engine", "host", "--substituter", "none", "--out", filepath.Join(t.TempDir(), "out")}, test.flags...)
			code := execute(t.Context(), args, process{
				stdin: terminal.program, stdout: new(bytes.Buffer), stderr: terminal.program, secrets: secrets{},
				environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "NIX_REMOTE=" + store, "TERM=dumb"},
			})
			if shown := terminal.end(); code != exitOK || strings.Contains(shown, "Cachix cache to publish to") != (name != "yes") {
				t.Fatalf("exit code %d:\n%s", code, shown)
			}
			for file, texts := range test.files {
				data, err := os.ReadFile(filepath.Join(dir, file))
				if (err == nil) != (texts != nil) {
					t.Errorf("%s: %v", file, err)
				}
				for _, text := range texts {
					if !strings.Contains(string(data), text) {
						t.Errorf("%s has no %q:\n%s", file, text, data)
					}
				}
			}
		})
	}
}

// openTerminal returns both ends of a terminal: that of a person, and that of a program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	program, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}
