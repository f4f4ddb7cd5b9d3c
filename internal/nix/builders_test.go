package nix

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseBuilders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "machines")
	text := "# ours\nssh-ng://root@a x86_64-linux,aarch64-linux /key 4 2 kvm - aG9zdA== # fast; first\n\nb\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" ; \n# none\n", ""},
		{"b", "ssh://b [] 1"},
		{"user@b - - -", "ssh://user@b [] 1"},
		{"ssh://a aarch64-linux;ssh-ng://b x86_64-linux - 3", "ssh://a [aarch64-linux] 1|ssh-ng://b [x86_64-linux] 3"},
		{"ssh://a aarch64-linux\nssh-ng://b x86_64-linux - 3", "ssh://a [aarch64-linux] 1|ssh-ng://b [x86_64-linux] 3"},
		{"auto", "auto [] 1"},
		{"/srv/store", "/srv/store [] 1"},
		{"@ " + file + "; c", "ssh-ng://root@a [x86_64-linux aarch64-linux] 4|ssh://b [] 1|ssh://c [] 1"},
		{"@" + file + "-that-is-not-there", ""},
	} {
		all, err := ParseBuilders(c.text)
		if err != nil {
			t.Errorf("ParseBuilders(%q): %v", c.text, err)
			continue
		}
		if got := described(all); got != c.want {
			t.Errorf("ParseBuilders(%q) = %s, want %s", c.text, got, c.want)
		}
		again, err := ParseBuilders(FormatBuilders(all))
		if err != nil || !reflect.DeepEqual(again, all) {
			t.Errorf("FormatBuilders(%q) = %q, which is %+v, %v", c.text, FormatBuilders(all), again, err)
		}
		if config := (Settings{"builders": FormatBuilders(all)}).Config(); strings.Count(config, "\n") != 1 {
			t.Errorf("FormatBuilders(%q) is more than one line: %q", c.text, config)
		}
	}
}

func described(all []Builder) string {
	var texts []string
	for _, b := range all {
		texts = append(texts, strings.Join([]string{b.URI, "[" + strings.Join(b.Systems, " ") + "]", string(rune('0' + b.Jobs))}, " "))
	}
	return strings.Join(texts, "|")
}

func TestParseBuildersRefuses(t *testing.T) {
	dir := t.TempDir()
	itself := filepath.Join(dir, "itself")
	if err := os.WriteFile(itself, []byte("@"+itself), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"- x86_64-linux", "a x86_64-linux - many", "a x86_64-linux - -1", "a b c 1 1 - - k more", "@" + dir, "@" + itself} {
		if all, err := ParseBuilders(text); err == nil {
			t.Errorf("ParseBuilders(%q) = %+v, want an error", text, all)
		}
	}
}

func TestBuilderBuilds(t *testing.T) {
	all, err := ParseBuilders("a; b aarch64-linux,x86_64-linux; c aarch64-linux")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} {
		if got := all[i].Builds("x86_64-linux", "x86_64-linux"); got != want {
			t.Errorf("%s builds x86_64-linux: %t, want %t", all[i].URI, got, want)
		}
	}
	if all[0].Builds("aarch64-linux", "x86_64-linux") {
		t.Error("a builder without systems builds for another system than the one that asks it")
	}
}

func TestBuilderWithJobs(t *testing.T) {
	all, err := ParseBuilders("a; ssh://b x86_64-linux /key 2 5 kvm - aG9zdA==")
	if err != nil {
		t.Fatal(err)
	}
	want := "a - - 9 ; ssh://b x86_64-linux /key 9 5 kvm - aG9zdA=="
	if got := FormatBuilders([]Builder{all[0].WithJobs(9), all[1].WithJobs(9)}); got != want {
		t.Errorf("WithJobs = %q, want %q", got, want)
	}
	if got := FormatBuilders(all); got != "a ; ssh://b x86_64-linux /key 2 5 kvm - aG9zdA==" {
		t.Errorf("WithJobs has changed its receiver: %q", got)
	}
}
