package nix

import (
	"os"
	"strings"
	"testing"
)

// The traces are the output of three versions of Nix for one flake, whose features.nix throws.
func TestParseEvalErrorOfRealNix(t *testing.T) {
	source, err := SourcePath("sha256-qk5lCxN/8bT2IzzxCoKZA76IkS3733dQbUvfHP7mXDY=")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"2.8", "2.26", "2.34"} {
		t.Run(version, func(t *testing.T) {
			data, err := os.ReadFile("testdata/throw-nix-" + version + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			e := ParseEvalError(string(data), source)
			if want := "open-sesame-desktop has no feature list for aarch64-linux"; e.Message != want {
				t.Errorf("message %q, want %q", e.Message, want)
			}
			if !strings.HasPrefix(e.Position, "features.nix:6:") {
				t.Errorf("position %q, want line 6 of features.nix", e.Position)
			}
			if !strings.Contains(strings.Join(e.Excerpt, "\n"), "throw") || len(e.Excerpt) > 5 {
				t.Errorf("excerpt %q, want the few lines around the throw", e.Excerpt)
			}
		})
	}
}

func TestParseEvalErrorWithItsOwnPosition(t *testing.T) {
	const source = "/nix/store/475pnypsm2y4kk5fim1k8wjlapxap7b8-source"
	for name, stderr := range map[string]string{
		"old": "warning: x\nerror: attribute 'missing' missing\n\n       at " + source + "/e.nix:1:12:\n\n            1| let f = x: x.missing;\n             |            ^\n            2|\n(use '--show-trace' to show detailed location information)\n",
		"new": "error:\n       … while calling\n         at «string»:1:1:\n            1| f\n             | ^\n\n       error: attribute 'missing' missing\n       at " + source + "/e.nix:1:12:\n            1| let f = x: x.missing;\n             |            ^\n            2|\n",
	} {
		e := ParseEvalError(stderr, source)
		if e.Message != "attribute 'missing' missing" || e.Position != "e.nix:1:12" || len(e.Excerpt) != 3 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if e := ParseEvalError("no such thing\n", ""); e.Message != "no such thing" {
		t.Errorf("without the word error: %+v", e)
	}
	offline := "warning: error: unable to download 'https://c.example/nix-cache-info': Couldn't resolve host name (6); retrying in 278 ms\n" +
		"disabling binary cache 'https://c.example' for 60 seconds\nerror: unable to download 'https://api.example/x': Couldn't resolve host name (6)\n"
	if m := ErrorMessage(offline); m != "unable to download 'https://api.example/x': Couldn't resolve host name (6)" {
		t.Errorf("message behind warnings: %q", m)
	}
	if m := ErrorMessage("error: a\nb\n"); m != "a\nb" {
		t.Errorf("message of several lines: %q", m)
	}
}

func FuzzParseEvalError(f *testing.F) {
	f.Add("error:\n … x\n at /a:1:1:\n 1| a\n error: y")
	f.Fuzz(func(_ *testing.T, s string) { _ = ParseEvalError(s, "").String() })
}
