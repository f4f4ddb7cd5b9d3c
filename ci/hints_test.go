package main

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

func TestProgramIsNamedAsItWasCalled(t *testing.T) {
	const hash = "6696bd864b3d6db25415c6057da46a92066f5910e07e78fa6501537f77d5fb39"
	for called, want := range map[string]string{
		"open-sesame-ci":   "open-sesame-ci",
		"./open-sesame-ci": "./open-sesame-ci",
		"/nix/store/0000000000000000000000000000000-x/bin/open-sesame-ci": "/nix/store/0000000000000000000000000000000-x/bin/open-sesame-ci",
		"/home/a b/ci":                                      "'/home/a b/ci'",
		"/tmp/go-build3730180000/b001/exe/ci":               "go run ./ci",
		"/home/a/.cache/go-build/66/" + hash + "-d/ci":      "go run ./ci",
		"/var/cache/of-go/66/" + hash + "-d/open-sesame-ci": "go run ./ci",
	} {
		if got := programAs(called); got != want {
			t.Errorf("called as %s: %s, want %s", called, got, want)
		}
	}
}

// Errors, events, findings and what a demo leaves out: all of them print hints.
func TestHintsStartWithTheNameOfTheCall(t *testing.T) {
	var log bytes.Buffer
	sys := process{name: "x", program: "./x", stdout: &log, stderr: &log}
	advice := hint.Program + " doctor --fix"
	err := hint.Wrap(errors.New("broken"), "%s", advice)
	printError(&log, sys.program, true, err)
	printLeftOut(sys, "aarch64-linux", err)
	if err := printFindings(sys, []setup.Finding{{Part: setup.Nix, Found: "broken", Fix: advice}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []outputOptions{{}, {json: true}} {
		r := newReporter(sys, o)
		r.Report(time.Time{}, run.Notice{Level: run.Warning, Text: "broken", Hint: advice})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(log.String(), "./x doctor --fix"); got != 5 || strings.Contains(log.String(), hint.Program) {
		t.Errorf("%d of 5 hints name the program:\n%s", got, &log)
	}
	for _, args := range [][]string{{"push"}, {"pin"}, {"release", "a", "b"}} {
		log.Reset()
		sys.environ = environment{"HOME=" + t.TempDir()}
		if code := execute(t.Context(), args, sys); code != exitUsage || !strings.HasSuffix(log.String(), "hint: ./x "+args[0]+" --help\n") {
			t.Errorf("%q: exit code %d: %s", args, code, &log)
		}
	}
}

// Each command in a text of this program has a name and flags that exist, and no flag twice.
func TestCommandsInHintsExist(t *testing.T) {
	commands := commandsInTexts(t)
	if len(commands) < 6 {
		t.Errorf("only %d commands found", len(commands))
	}
	for at, words := range commands {
		c, rest, err := newRoot(process{}).Find(words)
		if err != nil || len(words) == 0 || c.Parent() == nil {
			t.Errorf("%s: no such command: %q", at, words)
			continue
		}
		c.InitDefaultHelpFlag()
		seen := map[string]bool{}
		for _, word := range rest {
			name, isFlag := strings.CutPrefix(word, "--")
			name, _, _ = strings.Cut(name, "=")
			if isFlag && (c.Flags().Lookup(name) == nil || seen[name]) {
				t.Errorf("%s: %q: flag --%s does not exist, or is there twice", at, words, name)
			}
			seen[name] = true
		}
	}
}

// commandsInTexts returns the words of each command of this program in a string of the Go files that are no tests.
func commandsInTexts(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		tree, err := parser.ParseFile(files, file, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, rest := range strings.Split(text, hint.Program+" ")[1:] {
				command, _, _ := strings.Cut(rest, "\n")
				if end := strings.IndexAny(command, ",;"); end >= 0 {
					command = command[:end]
				}
				found[files.Position(literal.Pos()).String()] = strings.Fields(command)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
