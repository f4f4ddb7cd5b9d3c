package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// complete returns what a shell gets for a command line whose last word is not finished.
func complete(ctx context.Context, words ...string) []string {
	var stdout bytes.Buffer
	sys := process{stdout: &stdout, stderr: new(bytes.Buffer), environ: os.Environ(), secrets: secrets{}}
	execute(ctx, append([]string{"__completeNoDesc"}, words...), sys)
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return lines[:len(lines)-1] // the last one is for the script of the shell
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"rel":                         {"release"},
		"ver":                         {"verify", "version"},
		"release exa":                 {"example"},
		"release --system ":           systemNames(),
		"doctor --system ":            systemNames(),
		"release --engine ":           {"auto", "dagger", "host"},
		"release --push=":             {"auto", "always", "never"},
		"release --pin=":              {"true", "false"},
		"release --package ":          {"open-sesame", "open-sesame-desktop"},
		"release example --package ":  {"open-sesame", "open-sesame-desktop"},
		"build github:a/b --package ": nil, // it would have to be fetched
		"build ./none --package ":     nil,
	} {
		got := complete(t.Context(), strings.Split(line, " ")...)
		if !slices.Equal(got, want) {
			t.Errorf("%q is completed by %q, want %q", line, got, want)
		}
	}
}

// The words of a flag are those of its help.
func TestCompletedWordsAreInHelp(t *testing.T) {
	unseen := map[string]bool{}
	for name := range flagWords {
		unseen[name] = true
	}
	for _, c := range newRoot(process{}).Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			delete(unseen, f.Name)
			for _, word := range flagWords[f.Name] {
				if _, err := matrix.ParseSystem(word); err != nil && !strings.Contains(f.Usage, word) {
					t.Errorf("%s --%s is completed by %q, which is not in its help: %s", c.Name(), f.Name, word, f.Usage)
				}
			}
		})
	}
	if len(unseen) > 0 {
		t.Errorf("words for flags that no command has: %v", unseen)
	}
}

// A name of a stranger's flake reaches the shell of the user.
func TestCompletedWordsAreSafeForShells(t *testing.T) {
	got := shellWords([]string{"hello", "python3.11", "gtk+3", "$(touch x)", "`x`", "a b", "a;b", "-x", "a\nb", "~root", "*", ""})
	if want := []string{"hello", "python3.11", "gtk+3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A user who does not wait has no completion, and no error.
func TestCompletionThatTakesTooLong(t *testing.T) {
	dir := t.TempDir()
	writeTest(t, filepath.Join(dir, "flake.nix"), `{ outputs = _: { packages.x86_64-linux.hello = 1; }; }`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := complete(ctx, "build", dir, "--package", ""); len(got) > 0 {
		t.Errorf("completed by %q", got)
	}
}

// The packages of a directory are evaluated, without the network and without a build.
func TestCompletionOfDirectories(t *testing.T) {
	nixtest.Need(t)
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("makes its own store, as root; not with -short")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Bool
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Store(true)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-accepted })

	home := t.TempDir()
	t.Cleanup(func() { makeWritable(home) })
	sys := process{environ: append(os.Environ(), "HOME="+home, "TMPDIR="+home, "NIX_REMOTE=local?root="+home+"/store")}
	const names = `{ hello = throw "evaluated"; "with space" = 1; }`
	for name, test := range map[string]struct {
		expression string
		want       []string // nil for an error
		because    string
	}{
		"names only":        {names, []string{"hello", "with space"}, ""},
		"no such file":      {"import ./none.nix", nil, ""},
		"fetches":           {fmt.Sprintf(`builtins.seq (builtins.fetchTarball { url = "https://%s/x.tar.gz"; sha256 = "%052d"; }) %s`, l.Addr(), 0, names), nil, ""},
		"fetches a flake":   {fmt.Sprintf(`builtins.seq (builtins.getFlake "git+https://%s/x?rev=%040d") %s`, l.Addr(), 1, names), nil, ""},
		"fetches by ssh":    {fmt.Sprintf(`builtins.seq (builtins.getFlake "git+ssh://x@%s/x?rev=%040d") %s`, l.Addr(), 1, names), nil, ""},
		"builds to be read": {`import (derivation { name = "x"; system = builtins.head [ "x86_64-linux" ]; builder = "/bin/sh"; args = [ "-c" "echo {} > $out" ]; })`, nil, "allow-import-from-derivation"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTest(t, filepath.Join(dir, "flake.nix"), `{ outputs = _: let p = `+test.expression+`; in { packages.x86_64-linux = p; packages.aarch64-linux = p; }; }`)
			got, err := packageNames(t.Context(), sys, dir)
			if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.want != nil) {
				t.Errorf("error %v, names (-want +got):\n%s", err, diff)
			}
			if err != nil && !strings.Contains(err.Error(), test.because) {
				t.Errorf("error %v, want %s", err, test.because)
			}
			if asked.Swap(false) {
				t.Error("something was fetched")
			}
		})
	}
}
