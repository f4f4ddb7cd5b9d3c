package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Flags are parsed into fields that anything, such as a file, may fill before: a flag replaces them, and its absence does not.
func TestFlagsReplaceTheSettingsBefore(t *testing.T) {
	systems, timeout, word := []matrix.System{matrix.AArch64Linux}, time.Minute, "from a file"
	for _, test := range []struct {
		args    []string
		systems []matrix.System
		timeout time.Duration
		word    string
	}{
		{nil, []matrix.System{matrix.AArch64Linux}, time.Minute, "from a file"},
		{[]string{"--word", "", "--timeout", "2m"}, []matrix.System{matrix.AArch64Linux}, 2 * time.Minute, "from a file"},
		{[]string{"--word", "b", "--system", "x86_64-linux", "--system", "aarch64-linux"}, []matrix.System{matrix.X8664Linux, matrix.AArch64Linux}, time.Minute, "b"},
	} {
		systems, timeout, word := systems, timeout, word
		c := &cobra.Command{}
		c.Flags().Var(listOf(&systems, matrix.ParseSystem), "system", "")
		limitVar(c.Flags(), &timeout, "timeout", timeout, "")
		c.Flags().Var(valueOf(&word, "", oneOf("a", "b")), "word", "")
		if err := c.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(systems, test.systems) || timeout != test.timeout || word != test.word {
			t.Errorf("%q: %v, %v, %q", test.args, systems, timeout, word)
		}
	}
}

// The error of a flag names its value without the credentials in URLs, and keeps its hint. It is a usage error.
func TestInvalidFlag(t *testing.T) {
	for args, want := range map[string]string{
		"--engine x86_64-linux=tcp://user:secret@arm": `parse --engine "x86_64-linux=tcp://arm": `,
		"--override-input nixpkgs":                    `parse --override-input "nixpkgs": not of the form INPUT=FLAKE`,
		"--contract maybe":                            `parse --contract "maybe": want one of enforce, warn, off`,
		"--timeout -1s":                               `parse --timeout "-1s": a negative duration`,
		"--jobs many":                                 `parse --jobs "many": want a number, 0 or more`,
	} {
		root := newRoot(process{stdout: io.Discard, stderr: io.Discard})
		root.SetArgs(append([]string{"release"}, strings.Fields(args)...))
		err := root.Execute()
		if exitCode(t.Context(), err) != exitUsage || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v has a password", args, err)
		}
		if strings.Contains(args, "input") && len(hint.Of(err)) == 0 {
			t.Errorf("%s: no hint", args)
		}
	}
}
