package host

import (
	_ "embed"
	"regexp"
	"strings"
	"testing"
)

//go:embed testdata/import-from-derivation.sh
var importFromDerivation string

// Evaluation starts builders before the smoke step. They are in a sandbox all the same, or do not run beside a secret.
func (r testRoot) importFromDerivation(t *testing.T) {
	native, _ := systems()
	out, err := r.run(t, "bash", "-c", importFromDerivation, "sh", string(native))
	normal, rest, _ := strings.Cut(out, "no sandbox, a secret\n")
	guarded, free, ok := strings.Cut(rest, "no sandbox, no secret\n")
	if err != nil || !ok {
		t.Fatalf("%v\n%s", err, out)
	}
	built := regexp.MustCompile(`(?m)^/nix/store/\w+-(inside|outside)$`)
	if m := built.FindStringSubmatch(normal); m == nil || m[1] != "inside" || !strings.Contains(normal, "sandbox on") {
		t.Errorf("build beside a secret: want a package named inside\n%s", normal)
	}
	if built.MatchString(guarded) || !strings.Contains(guarded, "exit code 1") || !strings.Contains(guarded, "hint: no sandbox can be had here") {
		t.Errorf("build beside a secret where no sandbox can be had: want exit code 1 and a hint\n%s", guarded)
	}
	if m := built.FindStringSubmatch(free); m == nil || m[1] != "outside" || !strings.Contains(free, "sandbox off") {
		t.Errorf("build without a secret where no sandbox can be had: want a package named outside\n%s", free)
	}
}
