package setup

import "testing"

func TestReadyNamesTheEnginesThatCanRun(t *testing.T) {
	for _, test := range []struct {
		git, nix, emulator, dagger bool
		want                       string
	}{
		{true, true, true, false, "ready for host; the container engine is optional"},
		{true, true, true, true, "ready for host and dagger"},
		{true, false, false, true, "ready for dagger"},
		{true, true, false, true, "ready for dagger"},
		{true, true, false, false, ""},
		{true, false, true, false, ""},
		{false, true, true, true, ""},
	} {
		findings := []Finding{{Part: Git, OK: test.git}, {Part: Nix, OK: test.nix}, {Part: Emulator, OK: test.emulator}, {Part: Dagger, OK: test.dagger}}
		if got := Ready(findings); got != test.want || (got == "") != (CannotRun(findings) != "") {
			t.Errorf("%+v: %q, want %q; cannot run: %q", test, got, test.want, CannotRun(findings))
		}
	}
}
