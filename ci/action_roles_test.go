package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The role publish finds the artifacts of the other roles, as they are unpacked.
func TestActionPublishesArtifacts(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	step := readWorkflow(t, "../action.yml").job(t, "runs").step(t, `ci" publish`)
	nixos := "--substituter " + defaultProject.Substituters[0] + " --trusted-key " + defaultProject.TrustedKeys[0]
	pull := map[string]any{"pull_request": map[string]any{"number": float64(7)}}
	for name, test := range map[string]struct {
		inputs    map[string]any
		event     map[string]any
		artifacts []string
		want      string
	}{
		"two systems": {
			map[string]any{"role": "publish", "cachix": "a", "token": "t"},
			nil,
			[]string{"nix-build/nix-build-x86_64-linux", "nix-build/nix-build-aarch64-linux", "nix-rebuild/nix-rebuild-x86_64-linux", "nix-rebuild/nix-rebuild-aarch64-linux"},
			"publish TEMP/nix-build/nix-build-aarch64-linux/ TEMP/nix-build/nix-build-x86_64-linux/ --out TEMP/open-sesame-ci --pin=true " + nixos +
				" --push auto --cachix a --against TEMP/nix-rebuild/nix-rebuild-aarch64-linux/ TEMP/nix-rebuild/nix-rebuild-x86_64-linux/",
		},
		"one system": {
			map[string]any{"role": "publish"},
			nil,
			[]string{"nix-build", "nix-rebuild"},
			"publish TEMP/nix-build --out TEMP/open-sesame-ci --pin=true " + nixos + " --push never --against TEMP/nix-rebuild",
		},
		"without rebuilds, on a pull request": {
			map[string]any{"role": "publish", "cache": "https://a.cachix.org", "cache-key": "a:AA==", "args": "--rebuild=off"},
			pull,
			[]string{"nix-build"},
			"publish TEMP/nix-build --out TEMP/open-sesame-ci --pin=false " + nixos + " --substituter https://a.cachix.org --trusted-key a:AA== --push never --rebuild=off",
		},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			for _, artifact := range test.artifacts {
				writeTest(t, filepath.Join(temp, artifact, "manifest.json"), "{}")
			}
			c := contexts{
				"inputs": actionInputs(t, test.inputs), "runner": map[string]any{"arch": "X64", "temp": temp},
				"job": map[string]any{"check_run_id": float64(41)}, "github": map[string]any{"event": test.event},
			}
			got := argumentsOf(t, bash, step, c, temp)
			if diff := cmp.Diff(test.want, strings.ReplaceAll(strings.Join(got, " "), temp, "TEMP")); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if err := parses(got); err != nil {
				t.Errorf("the program does not take it: %v", err)
			}
		})
	}
}

// Which steps of the action a role has, what it uploads, and which steps have the secret.
func TestActionRoles(t *testing.T) {
	runs := readWorkflow(t, "../action.yml").job(t, "runs")
	type outcome struct{ Builds, Publishes, Token, Artifact string }
	for role, want := range map[string]outcome{
		"":        {"release", "", "t", ""},
		"build":   {"build", "", "", "nix-build-x86_64-linux"},
		"rebuild": {"build", "", "", "nix-rebuild-x86_64-linux"},
		"publish": {"", "t", "", ""},
	} {
		c := contexts{
			"inputs": actionInputs(t, map[string]any{"role": role, "command": "release", "token": "t", "signing-key": "k"}),
			"runner": map[string]any{"arch": "X64", "temp": "TEMP"},
		}
		build, publish, upload := runs.step(t, "COMMAND"), runs.step(t, `ci" publish`), runs.step(t, "actions/upload-artifact@")
		var got outcome
		if condition(t, c, yamlText(build, "if")) {
			got.Builds, got.Token = expand(t, c, yamlText(build, "env", "COMMAND")), expand(t, c, yamlText(build, "env", "CACHIX_AUTH_TOKEN"))
			if key := expand(t, c, yamlText(build, "env", "CACHIX_SIGNING_KEY")); (key != "") != (role == "") {
				t.Errorf("role %q has the signing key %q", role, key)
			}
		}
		if condition(t, c, yamlText(publish, "if")) {
			got.Publishes = expand(t, c, yamlText(publish, "env", "CACHIX_AUTH_TOKEN"))
		}
		if condition(t, c, yamlText(upload, "if")) {
			got.Artifact = expand(t, c, yamlText(upload, "with", "name"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("role %q (-want +got):\n%s", role, diff)
		}
		if yamlText(upload, "with", "overwrite") != "true" {
			t.Error("a job that runs again cannot replace its artifact")
		}
		for _, s := range runs.steps {
			if strings.HasPrefix(yamlText(s, "uses"), "actions/download-artifact@") && condition(t, c, yamlText(s, "if")) != (role == "publish") {
				t.Errorf("role %q: downloads %s", role, yamlText(s, "with", "pattern"))
			}
		}
	}
}
