package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// evaluated returns the results of the evaluated checks for the example flake with edits.
func evaluated(t *testing.T, edits ...edit) []Result {
	m := newMachine(t)
	flake := m.flake(func(dir string) { mutant{edits: edits}.write(t, dir) })
	return m.evaluate(openSesame(), flake, native())
}

// A module that does not evaluate fails the checks of the module with Nix's message, and no others.
func TestModuleThatDoesNotEvaluate(t *testing.T) {
	for name, test := range map[string]struct {
		edit edit
		says string
	}{
		"throws":             {edit{moduleNix, "config = mkIf cfg.enable {", `config = mkIf (throw "no module on Sundays") {`}, "no module on Sundays"},
		"infinite recursion": {edit{moduleNix, "config = mkIf cfg.enable {", "config = mkIf (config.home.packages == [ ]) {"}, "infinite recursion encountered"},
		"missing attribute":  {edit{moduleNix, "cfg = config.programs.open-sesame;", "cfg = config.programs.open-sesame.sesame;"}, "attribute 'sesame' missing"},
		"no module at all":   {edit{"flake.nix", "import ./nix/hm-module.nix self", `"none"`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			for _, r := range evaluated(t, test.edit) {
				isModule := strings.HasPrefix(r.Check, "home-manager/")
				switch {
				case isModule && r.Status == Fail:
					failed++
					if !strings.Contains(r.Reason, test.says) && r.Check != "home-manager/log-level/refused" {
						t.Errorf("%s says %q, want %q", r.Check, r.Reason, test.says)
					}
				case isModule, r.Status != Pass:
					t.Errorf("%+v", r)
				}
			}
			if failed == 0 {
				t.Error("no check of the module has failed")
			}
		})
	}
}

// The result of an error in the flake has its position.
func TestErrorsHaveAPosition(t *testing.T) {
	t.Parallel()
	for _, r := range evaluated(t, edit{headlessNix, "buildNoDefaultFeatures = true;", `buildNoDefaultFeatures = throw "which ones?";`}) {
		if r.Check == "outputs/packages/open-sesame" {
			if r.Status != Fail || r.File != headlessNix || r.Line == 0 || !strings.Contains(r.Reason, "which ones?") {
				t.Errorf("%+v", r)
			}
			return
		}
	}
	t.Error("no result for the package")
}

// No check passes on a flake of another kind.
func TestFlakeOfAnotherKind(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	c := openSesame()
	flake := m.reference(func(dir string) error { return example.WriteFixture(dir, "other") })
	results := m.evaluate(c, flake, native())
	for _, r := range c.Finish(results, native(), c.Planned()) {
		if r.Status == Pass {
			t.Errorf("%+v", r)
		}
	}
}

// A flake that does not exist fails its checks, and is no error.
func TestFlakeThatDoesNotExist(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	results := m.evaluate(openSesame(), "path:"+filepath.Join(t.TempDir(), "nothing")+"?narHash=sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D", native())
	if len(results) == 0 {
		t.Error("no results")
	}
	for _, r := range results {
		if r.Status == Pass {
			t.Errorf("%+v", r)
		}
	}
}

// With a reference of Home Manager, its own options are used. What it configures without the module is ignored.
func TestHomeManagerByReference(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	manager := m.reference(func(dir string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "flake.nix"), []byte(homeManagerStandIn), 0o644)
	})
	request := Request{System: native(), Flake: m.flake(func(string) {}), HomeManager: manager}
	results, err := openSesame().Evaluate(request, m.eval)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status != Pass {
			t.Errorf("%+v", r)
		}
	}
}

// homeManagerStandIn has its own service, file and package, as Home Manager has.
const homeManagerStandIn = `{
  outputs = { self }: {
    lib.homeManagerConfiguration = { pkgs, modules }:
      let
        inherit (pkgs) lib;
        any = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
        listOf = type: lib.mkOption { type = lib.types.listOf type; default = [ ]; };
        text = lib.mkOption { type = lib.types.str; };
      in
      lib.evalModules {
        specialArgs = { inherit pkgs; };
        modules = [
          {
            options = {
              home = { packages = listOf lib.types.package; username = text; homeDirectory = text; stateVersion = text; };
              xdg.configFile = any;
              systemd.user = { services = any; targets = any; sessionVariables = any; tmpfiles.rules = listOf lib.types.str; };
              assertions = listOf lib.types.anything;
            };
            config = {
              home.packages = [ pkgs.openssl ];
              xdg.configFile."systemd/user/tray.target" = { text = null; source = ./.; };
              systemd.user.targets.tray.Unit.Description = "Home Manager System Tray";
              systemd.user.services.agent.Service.ExecStart = "agent";
            };
          }
        ] ++ modules;
      };
  };
}
`

// evaluateCounting returns the results, and the number of evaluations.
func evaluateCounting(t *testing.T, m machine, r Request) (results []Result, calls int) {
	t.Helper()
	c := openSesame()
	results, err := c.Evaluate(r, func(expression string) ([]byte, string, error) {
		calls++
		return m.eval(expression)
	})
	if err != nil {
		t.Fatal(err)
	}
	var planned []string // of the evaluation
	for _, check := range c.Planned() {
		if strings.HasPrefix(check, "home-manager/") || strings.HasPrefix(check, "outputs/") {
			planned = append(planned, check)
		}
	}
	return c.Finish(results, r.System, planned), calls
}

// Where a configuration without the module does not evaluate either, the module is not the cause: there is one result, and
// Nix does not evaluate the other configurations.
func TestHomeManagerThatDoesNotEvaluate(t *testing.T) {
	for name, test := range map[string]struct {
		old, new, says string
	}{
		"attribute that nixpkgs does not have": {"inherit (pkgs) lib;", "lib = pkgs.lib.extended;", "attribute 'extended' missing"},
		"attribute of another name":            {"lib.homeManagerConfiguration =", "lib.configuration =", "attribute 'homeManagerConfiguration' missing"},
		"throw":                                {"lib.evalModules {", `throw "too old a nixpkgs" {`, "too old a nixpkgs"},
		"assertion":                            {"config = {", `config = { assertions = [ { assertion = false; message = "releases differ"; } ];`, "releases differ"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			if strings.Count(homeManagerStandIn, test.old) != 1 {
				t.Fatalf("the stand-in has %q %d times, want once", test.old, strings.Count(homeManagerStandIn, test.old))
			}
			manager := m.reference(func(dir string) error {
				write(t, filepath.Join(dir, "flake.nix"), strings.Replace(homeManagerStandIn, test.old, test.new, 1))
				return nil
			})
			request := Request{System: native(), Flake: m.flake(func(string) {}), HomeManager: manager}
			results, calls := evaluateCounting(t, m, request)
			onlyBare(t, results, test.says)
			if calls > 3 {
				t.Errorf("Nix was asked %d times, want at most 3", calls)
			}
		})
	}
}

// onlyBare checks that one check failed, that of Home Manager as a whole, with that reason and without a file of the flake.
func onlyBare(t *testing.T, results []Result, says string) {
	t.Helper()
	found := false
	for _, r := range results {
		switch {
		case r.Check == "home-manager" && r.Status == Fail && r.File == "" && strings.Contains(r.Reason, says):
			found = true
		case r.Status != Pass:
			t.Errorf("%+v", r)
		}
	}
	if !found {
		t.Errorf("no check says %q", says)
	}
}

// editNixpkgs changes the flake.nix of the example's nixpkgs, and locks it again.
func editNixpkgs(t *testing.T, dir, old, new string) {
	t.Helper()
	locked := func() string {
		hash, _, err := nar.HashTree(t.Context(), filepath.Join(dir, "nixpkgs"))
		if err != nil {
			t.Fatal(err)
		}
		return hash.SRI()
	}
	before := locked()
	replace(t, filepath.Join(dir, "nixpkgs/flake.nix"), old, new)
	replace(t, filepath.Join(dir, "flake.lock"), before, locked())
}

// An overlay may need others, such as one with a toolchain.
func TestOverlayThatNeedsAnother(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flake := m.flake(func(dir string) {
		editNixpkgs(t, dir, "inherit lib;", "inherit lib;\n      overlays.toolchain = _: prev: { rust-bin = prev.rustPlatform; };")
		replace(t, filepath.Join(dir, headlessNix), "  rustPlatform,\n", "  rust-bin,\n")
		replace(t, filepath.Join(dir, headlessNix), "rustPlatform.buildRustPackage", "rust-bin.buildRustPackage")
		replace(t, filepath.Join(dir, "flake.nix"), "overlays = [ self.overlays.default ]", "overlays = [ nixpkgs.overlays.toolchain self.overlays.default ]")
	})
	for _, test := range []struct {
		needs []string
		want  Status
	}{
		{nil, Fail},
		{[]string{"nixpkgs.overlays.toolchain"}, Pass},
		{[]string{"konductor.inputs.rust-overlay.overlays.default", "nixpkgs.overlays.toolchain"}, Pass}, // an input that does not exist
	} {
		c := openSesame()
		c.Outputs.OverlayNeeds = test.needs
		for _, r := range m.evaluate(c, flake, native()) {
			switch {
			case r.Check == "outputs/overlays/default" && r.Status != test.want:
				t.Errorf("with %q: %+v, want %s", test.needs, r, test.want)
			case r.Check != "outputs/overlays/default" && r.Status != Pass:
				t.Errorf("with %q: %+v", test.needs, r)
			}
		}
	}
}

// A nixpkgs without legacyPackages is reported once.
func TestNixpkgsWithoutLegacyPackages(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flake := m.flake(func(dir string) { editNixpkgs(t, dir, "legacyPackages", "packages") })
	results, calls := evaluateCounting(t, m, Request{System: native(), Flake: flake})
	onlyBare(t, results, "the input nixpkgs has no legacyPackages."+string(native()))
	if calls > 2 {
		t.Errorf("Nix was asked %d times, want at most 2", calls)
	}
}

// A failed group counts as a result of each of its checks. A group that was skipped or passed does not.
func TestFinishAcceptsAFailedGroupForItsChecks(t *testing.T) {
	for _, status := range []Status{Fail, Skip, Warn, Pass} {
		got := new(Contract).Finish([]Result{{Check: "home-manager", Status: status}}, "", []string{"home-manager/desktop"})
		if complete := len(got) == 1; complete != (status == Fail) {
			t.Errorf("%s: results %+v", status, got)
		}
	}
}
