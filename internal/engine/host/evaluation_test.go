package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/enginetest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func TestImpureEvaluationReadsNoFiles(t *testing.T) {
	t.Parallel()
	nixtest.Need(t)
	x, err := Open(t.Context(), Options{System: matrix.X8664Linux, Settings: enginetest.Settings, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	file := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(file, []byte("leaked"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, isolates := range []bool{x.isolates, false} {
		x.isolates = isolates
		for _, expression := range []string{
			`builtins.readFile "` + file + `"`,
			`builtins.readFile (builtins.path { path = "` + file + `"; })`,
			`builtins.readFile (builtins.fetchurl "file://` + file + `")`,
			`builtins.readFile "${` + file + `}"`,
		} {
			out, err := x.Run(t.Context(), engine.Command{Program: "nix", Args: []string{"eval", "--impure", "--raw", "--expr", expression}})
			if err == nil || !strings.Contains(err.Error(), "restricted mode") && !strings.Contains(err.Error(), "No such file") {
				t.Errorf("evaluate %s, isolated: %t: %q, %v", expression, isolates, out, err)
			}
		}
	}
}

func TestOnlyKnownCommandsDoNotEvaluate(t *testing.T) {
	command := func(words ...string) engine.Command {
		return engine.Command{Program: words[0], Args: words[1:]}
	}
	own := command("nix-build", "-E", "1")
	own.Settings = nix.Settings{"restrict-eval": "false"}
	for want, commands := range map[bool][]engine.Command{
		true:  {command("nix", "eval"), command("nix", "build", "."), command("nix", "unheard-of"), command("nix-build"), command("nix-instantiate")},
		false: {command("nix", "--version"), command("nix", "store", "cat"), command("nix-store", "--realise"), own},
	} {
		for _, c := range commands {
			if got := evaluates(c); got != want {
				t.Errorf("%s %q evaluates: %t", c.Program, c.Args, got)
			}
		}
	}
}

func TestFetchersHaveNoPlainHTTP(t *testing.T) {
	for _, test := range []struct {
		name               string
		env, named         []string
		substituters, want string
		protocols          string
	}{
		{"by default", []string{"no_proxy=127.0.0.1"}, nil, "https://a.example", "no_proxy=", "https:ssh"},
		{"a proxy", []string{"https_proxy=http://p.example", "no_proxy=b.example"}, nil, "", "no_proxy=b.example", "https:ssh"},
		{"a substituter", nil, nil, "http://a.example:80/x", "no_proxy=a.example", "https:ssh"},
		{"an override", nil, []string{"git+http://a.example/x", "git+file:///x"}, "", "no_proxy=a.example", "https:ssh:http:file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := &Executor{Env: test.env, Settings: nix.Settings{"substituters": test.substituters}}
			got := x.fetcherEnvironment(test.named)
			for _, want := range []string{test.want, "http_proxy=" + noProxy, "GIT_ALLOW_PROTOCOL=" + test.protocols} {
				if !slices.Contains(got, want) {
					t.Errorf("got %q, want %s", got, want)
				}
			}
		})
	}
}
