package binfmt

import "testing"

func TestParse(t *testing.T) {
	const aarch64 = "interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	for name, test := range map[string]struct {
		text, machine string
		want          bool
	}{
		"enabled":         {"enabled\n" + aarch64, "aarch64", true},
		"disabled":        {"disabled\n" + aarch64, "aarch64", false},
		"another machine": {"enabled\n" + aarch64, "x86_64", false},
		"no flag F":       {"enabled\ninterpreter /x\nflags: PO\nmagic 7f454c460201010000000000000000000200b700\n", "aarch64", false},
		"a script":        {"enabled\ninterpreter /x\nflags: F\nextension .py\n", "aarch64", false},
		"status":          {"enabled\n", "aarch64", false},
	} {
		e, ok := parse(test.text, test.machine)
		if ok != test.want || ok && e.Interpreter != "/usr/libexec/qemu-binfmt/aarch64-binfmt-P" {
			t.Errorf("%s: %+v, %t, want %t", name, e, ok, test.want)
		}
	}
}
