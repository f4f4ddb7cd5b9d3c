package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestHelpOfTopics(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"help"}, exitOK, "Additional help topics:"},
		{[]string{"help", "release"}, exitOK, "--rebuild"},
		{[]string{"help", "contract"}, exitOK, "init FLAKE"},
		{[]string{"help", "engines"}, exitOK, "--engine auto"},
		{[]string{"help", "manifest"}, exitOK, "reproduce MANIFEST"},
		{[]string{"help", "publishing"}, exitOK, "--secret-env"},
		{[]string{"help", "relese"}, exitUsage, `error: unknown command or help topic "relese": did you mean release?`},
		{[]string{"help", "contracts"}, exitUsage, "did you mean contract?"},
		{[]string{"help", "xyzzyxyzzy"}, exitUsage, "error: unknown command or help topic \"xyzzyxyzzy\"\nhint: x help\n"},
		{[]string{"help", "a", "b"}, exitUsage, "2 arguments given"},
	} {
		var stdout, stderr bytes.Buffer
		code := execute(t.Context(), test.args, process{name: "x", program: "x", stdout: &stdout, stderr: &stderr})
		got := stdout.String()
		if code != exitOK {
			got = stderr.String()
		}
		if code != test.code || !strings.Contains(got, test.want) {
			t.Errorf("%q: exit code %d, want %d with %q:\n%s%s", test.args, code, test.code, test.want, &stdout, &stderr)
		}
	}
}

// The flags that topics name exist.
func TestTopicsNameFlagsThatExist(t *testing.T) {
	root := newRoot(process{})
	exists := map[string]bool{}
	for _, c := range root.Commands() {
		for _, name := range flagNames(c) {
			exists["--"+name] = true
		}
	}
	for _, topic := range topics {
		for _, word := range strings.Fields(topic.long) {
			if strings.HasPrefix(word, "--") && !exists[strings.TrimRight(word, ",.:;")] {
				t.Errorf("help %s names %s, which no command has", topic.name, word)
			}
		}
	}
}

func TestUnknownFlagsHaveASuggestion(t *testing.T) {
	for args, want := range map[string]string{
		"release --systm x":      "error: x release: unknown flag: --systm: did you mean --system?\n",
		"push --cachx=c":         "error: x push: unknown flag: --cachx: did you mean --cachix?\n",
		"doctor --xyzzyxyzzy":    "error: x doctor: unknown flag: --xyzzyxyzzy\n",
		"release -x":             "error: x release: unknown shorthand flag: 'x' in -x\n",
		"release --system":       "error: x release: flag needs an argument: --system\n",
		"release --rebulid=warn": "error: x release: unknown flag: --rebulid: did you mean --rebuild?\n",
	} {
		var stderr bytes.Buffer
		code := execute(t.Context(), strings.Fields(args), process{name: "x", program: "x", stdout: new(bytes.Buffer), stderr: &stderr})
		if code != exitUsage || stderr.String() != want {
			t.Errorf("%s: exit code %d:\n%s, want\n%s", args, code, &stderr, want)
		}
	}
}
