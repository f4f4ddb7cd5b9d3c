package host

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:embed testdata/import-from-derivation.sh
var importFromDerivation string

// Evaluation starts builders before the probe step. They run in a sandbox, or they do not run in a job with a secret.
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

//go:embed testdata/evaluation-attacks.sh
var evaluationAttacks string

// Evaluation reads no file of the machine, and sends no plain HTTP requests. The exceptions without isolation are listed
// here, by version, and in docs/threat-model.md.
func (r testRoot) evaluationAttacks(t *testing.T, version string) {
	native, _ := systems()
	remains := map[string][]string{
		"2.8":  {"tree-path", "tree-process", "flake-path", "flake-process", "flake-git"},
		"2.26": {"flake-path", "flake-git"},
		"2.34": {"flake-path", "flake-git"},
	}
	for how, remains := range map[string][]string{"isolated": nil, "restricted": remains[version]} {
		t.Run(how, func(t *testing.T) {
			out, err := r.run(t, "bash", "-c", evaluationAttacks, "bash", string(native), how)
			run, facts, ok := strings.Cut(out, "in the store:\n")
			stored, facts, _ := strings.Cut(facts, "asked:\n")
			asked, kind, _ := strings.Cut(facts, "evaluation:\n")
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out)
			}
			var leaked, harmless []string
			for _, m := range regexp.MustCompile(`(?m)^  . (\S+) +built .*\n +/nix/store/\w+-(\S+)`).FindAllStringSubmatch(run, -1) {
				if m[2] == "leaked" {
					leaked = append(leaked, m[1])
				} else {
					harmless = append(harmless, m[1])
				}
			}
			slices.Sort(leaked)
			slices.Sort(harmless)
			slices.Sort(remains)
			if diff := cmp.Diff([]string{"file", "imported", "relative"}, harmless); diff != "" {
				t.Errorf("harmless packages (-want +got):\n%s\n%s", diff, run)
			}
			if diff := cmp.Diff(remains, leaked); diff != "" {
				t.Errorf("leaked (-want +got):\n%s\n%s", diff, run)
			}
			if (stored != "") != (remains != nil) {
				t.Errorf("the store has\n%s", stored)
			}
			if asked != "" {
				t.Errorf("the server was asked\n%s", asked)
			}
			if !strings.Contains(kind, `"`+how+`"`) {
				t.Errorf("the manifest has %q, want %s", kind, how)
			}
		})
	}
}

//go:embed testdata/changed-inputs.sh
var changedInputs string

// A builder cannot change its inputs, or nothing that is built from them is published.
func (r testRoot) changedInputs(t *testing.T) {
	native, _ := systems()
	for _, test := range []struct {
		name, stranger, owner string
		cached                string   // the version of the owner's package in the cache
		says                  []string // by the owner's release or its manifest
	}{
		{"build users", "users", "users", "harmless", []string{"sandbox on"}},
		{"no build users", "root", "root", "nothing", []string{
			"sandbox off", "exit code 5", "builders can change their inputs", "ci doctor --fix", `"writableInputs": true`,
		}},
		{"build users since the attack", "root", "users", "nothing", []string{
			"exit code 3", "was changed: /nix/store/", "hint: nix-store --repair-path /nix/store/",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := r.run(t, "bash", "-c", changedInputs, "bash", string(native), test.stranger, test.owner)
			_, release, ok := strings.Cut(out, "the owner's release:\n")
			output, rest, _ := strings.Cut(release, "in the cache:\n")
			cached, manifest, _ := strings.Cut(rest, "in the manifest:\n")
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := strings.TrimSpace(cached); got != test.cached {
				t.Errorf("the cache has %q, want %q", got, test.cached)
			}
			for _, text := range test.says {
				if !strings.Contains(output+manifest, text) {
					t.Errorf("the owner's release and its manifest do not have %q", text)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}
