package example

import (
	"debug/elf"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

var (
	systems  = []string{"x86_64-linux", "aarch64-linux"}
	packages = []string{"open-sesame", "open-sesame-desktop"}
)

var update = flag.Bool("update", false, "write the NAR hash of nixpkgs into flake/flake.lock")

// TestLock checks that the lock file names the stand-in for nixpkgs by its content.
func TestLock(t *testing.T) {
	n := newNix(t)
	dir := t.TempDir()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	want, _ := n.must("nix", "hash", "path", filepath.Join(dir, "nixpkgs"))
	lock, err := trees.ReadFile("flake/flake.lock")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`"narHash": "(.*)"`)
	switch got := string(field.FindSubmatch(lock)[1]); {
	case got == want:
	case *update:
		lock = field.ReplaceAll(lock, []byte(`"narHash": "`+want+`"`))
		if err := os.WriteFile("flake/flake.lock", lock, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("flake/flake.lock says %s, but nixpkgs has %s; run the test with -update", got, want)
	}
}

func TestEvaluate(t *testing.T) {
	n := newNix(t)
	flake := n.snapshot(Write)
	shape := func(attribute, function string) string {
		t.Helper()
		out, _ := n.must("nix", "eval", "--json", "--no-update-lock-file", flake+"#"+attribute, "--apply", function)
		return out
	}
	for _, system := range systems {
		want := `["default","open-sesame","open-sesame-desktop"]`
		if got := shape("packages."+system, "builtins.attrNames"); got != want {
			t.Errorf("packages.%s has %s, want %s", system, got, want)
		}
		if got := shape("packages."+system, "p: p.default.drvPath == p.open-sesame-desktop.drvPath"); got != "true" {
			t.Errorf("packages.%s.default is not open-sesame-desktop", system)
		}
		if got := shape("devShells."+system+".default", "d: d.system"); got != `"`+system+`"` {
			t.Errorf("devShells.%s.default is for %s", system, got)
		}
	}
	for _, function := range []string{"overlays.default", "homeManagerModules.default"} {
		if got := shape(function, "builtins.isFunction"); got != "true" {
			t.Errorf("%s is not a function", function)
		}
	}
}

// TestBuild builds everything on each system in a sandbox, builds it once more without one, and checks the outputs.
func TestBuild(t *testing.T) {
	for _, system := range systems {
		t.Run(system, func(t *testing.T) {
			nixtest.NeedSystem(t, matrix.System(system))
			n := newNix(t)
			flake := n.snapshot(Write)
			var attributes []string
			for _, p := range packages {
				attributes = append(attributes, "packages."+system+"."+p)
			}
			paths, _ := n.build(flake, attributes...)
			headless, desktop := paths[0], paths[1]

			// A rebuild has a log even if the first build was not needed.
			for _, n := range []nix{n, newNix(t, "sandbox = false")} {
				for _, a := range attributes {
					_, log := n.must("nix", "build", "-L", "--no-link", "--rebuild", "--no-update-lock-file", flake+"#"+a)
					for _, want := range []string{"Running phase: checkPhase", "test home_is_fresh_and_writable ... ok"} {
						if !strings.Contains(log, want) {
							t.Errorf("the log of %s lacks %q:\n%s", a, want, log)
						}
					}
				}
			}

			machine := map[string]elf.Machine{"x86_64-linux": elf.EM_X86_64, "aarch64-linux": elf.EM_AARCH64}[system]
			checkPrograms(t, n, machine, headless, "headless", "sesame", "daemon-profile", "daemon-secrets", "daemon-launcher", "daemon-snippets")
			checkPrograms(t, n, machine, desktop, "desktop", "sesame", ".daemon-wm-wrapped", "daemon-clipboard", "daemon-input")
			checkUnits(t, headless, "headless.target", "profile.service", "secrets.service", "launcher.service", "snippets.service")
			checkUnits(t, desktop, "desktop.target", "wm.service", "clipboard.service", "input.service")
			checkWrapper(t, n, desktop)
			checkProfile(t, n, headless, desktop)
		})
	}
}

// checkPrograms checks that the package's programs run, are for that machine, and are complete.
func checkPrograms(t *testing.T, n nix, machine elf.Machine, out, feature string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(out, "bin", name)
		file, err := elf.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		file.Close()
		if file.Machine != machine {
			t.Errorf("%s is for %v, want %v", path, file.Machine, machine)
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, "."), "-wrapped")
		if got, _ := n.must(path); got != name+" 1.14.2 ("+feature+")" {
			t.Errorf("%s says %q", path, got)
		}
	}
}

func checkUnits(t *testing.T, out string, names ...string) {
	t.Helper()
	dir := filepath.Join(out, "lib/systemd/user")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("%s has %d units, want %d", dir, len(entries), len(names))
	}
	for _, name := range names {
		unit, err := os.ReadFile(filepath.Join(dir, "open-sesame-"+name))
		if err != nil {
			t.Error(err)
			continue
		}
		daemon, isService := strings.CutSuffix(name, ".service")
		if isService && !strings.Contains(string(unit), "\nExecStart="+out+"/bin/daemon-"+daemon+"\n") {
			t.Errorf("%s does not start its own package's daemon:\n%s", name, unit)
		}
	}
}

// checkWrapper checks that daemon-wm finds the keyboard rules in what is installed with it.
func checkWrapper(t *testing.T, n nix, desktop string) {
	t.Helper()
	wrapper, err := os.ReadFile(filepath.Join(desktop, "bin/daemon-wm"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`XKB_CONFIG_ROOT='((.*)/etc/X11/xkb)'`).FindSubmatch(wrapper)
	if found == nil {
		t.Fatalf("daemon-wm does not set XKB_CONFIG_ROOT:\n%s", wrapper)
	}
	if info, err := os.Stat(string(found[1])); err != nil || !info.IsDir() {
		t.Errorf("XKB_CONFIG_ROOT is not a directory: %v", err)
	}
	if closure, _ := n.must("nix-store", "--query", "--requisites", desktop); !slices.Contains(strings.Fields(closure), string(found[2])) {
		t.Errorf("the closure lacks %s", found[2])
	}
	if got, _ := n.must(filepath.Join(desktop, "bin/daemon-wm")); got != "daemon-wm 1.14.2 (desktop)" {
		t.Errorf("daemon-wm says %q", got)
	}
}

// checkProfile installs only the desktop package, and checks that the headless programs are next to its own.
func checkProfile(t *testing.T, n nix, headless, desktop string) {
	t.Helper()
	inputs, err := os.ReadFile(filepath.Join(desktop, "nix-support/propagated-build-inputs"))
	if err != nil || strings.TrimSpace(string(inputs)) != headless {
		t.Errorf("propagated-build-inputs is %q, want %s (%v)", inputs, headless, err)
	}
	profile := filepath.Join(t.TempDir(), "profile")
	n.must("nix-env", "--profile", profile, "--install", desktop)
	for _, name := range []string{"daemon-wm", "daemon-profile", "daemon-secrets", "daemon-launcher", "daemon-snippets"} {
		if _, err := os.Stat(filepath.Join(profile, "bin", name)); err != nil {
			t.Error(err)
		}
	}
	if got, _ := n.must(filepath.Join(profile, "bin/sesame")); !strings.Contains(got, "(desktop)") {
		t.Errorf("the profile's sesame is %q, want that of the desktop package", got)
	}
}

// TestSourceFilter changes a file, and checks whether the packages have the same derivations.
func TestSourceFilter(t *testing.T) {
	n := newNix(t)
	drv := func(dir, file string) string {
		t.Helper()
		flake := n.snapshot(func(dir string) error {
			if err := Write(dir); err != nil || file == "" {
				return err
			}
			return os.WriteFile(filepath.Join(dir, file), []byte("// changed\n"), 0o644)
		})
		out, _ := n.must("nix", "eval", "--raw", "--no-update-lock-file", flake+"#packages.x86_64-linux.default.drvPath")
		return out
	}
	before := drv(t.TempDir(), "")
	for file, rebuilds := range map[string]bool{
		"docs/architecture.md":     false,
		".github/workflows/ci.yml": false,
		"README.md":                false,
		"nix/hm-module.nix":        false,
		"core-types/src/lib.rs":    true,
		"xtask/src/main.rs":        true,
		"config.example.toml":      true,
		".cargo/config.toml":       true,
	} {
		if changed := drv(t.TempDir(), file) != before; changed != rebuilds {
			t.Errorf("changing %s: rebuilds is %t, want %t", file, changed, rebuilds)
		}
	}
}

func TestHome(t *testing.T) {
	nixtest.NeedSystem(t, matrix.X8664Linux)
	n := newNix(t)
	flake := n.snapshot(Write)
	n.build(flake, "packages.x86_64-linux.default") // what the services start
	home := func(settings string) (json string, log string, err error) {
		expr := `import ` + abs(t, "testdata/home.nix") + ` { flake = builtins.getFlake "` + flake + `"; settings = ` + settings + `; }`
		return n.run("nix", "eval", "--impure", "--json", "--expr", expr)
	}

	for settings, want := range map[string]struct {
		services, targets, rules, packages int
		config                             string
	}{
		`{ }`:                                 {},
		`{ headless = true; }`:                {},
		`{ enable = true; }`:                  {services: 7, targets: 2, rules: 4, packages: 1},
		`{ enable = true; headless = true; }`: {services: 4, targets: 1, rules: 3, packages: 1},
		`{ enable = true; settings.key_bindings.g.apps = [ "ghostty" ]; profiles.work.launch_profiles.dev.env.RUST_LOG = "debug"; }`: {
			services: 7, targets: 2, rules: 4, packages: 1,
			config: "config_version = 3\n" +
				"\n[profiles.default.wm.key_bindings.g]\napps = [\"ghostty\"]\n" +
				"\n[profiles.work.launch_profiles.dev.env]\nRUST_LOG = \"debug\"\n",
		},
	} {
		out, log, err := home(settings)
		if err != nil {
			t.Errorf("%s: %v\n%s", settings, err, log)
			continue
		}
		var got struct {
			Packages   []string
			ConfigFile map[string]string
			Systemd    struct {
				User struct {
					Services map[string]struct{ Service struct{ ExecStart string } }
					Targets  map[string]any
					Tmpfiles struct{ Rules []string }
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		user := got.Systemd.User
		if len(user.Services) != want.services || len(user.Targets) != want.targets || len(user.Tmpfiles.Rules) != want.rules || len(got.Packages) != want.packages {
			t.Errorf("%s gives %d services, %d targets, %d rules, %q; want %+v",
				settings, len(user.Services), len(user.Targets), len(user.Tmpfiles.Rules), got.Packages, want)
		}
		for name, s := range user.Services {
			if _, err := os.Stat(s.Service.ExecStart); err != nil {
				t.Errorf("%s: service %s: %v", settings, name, err)
			}
		}
		if config := got.ConfigFile["pds/config.toml"]; config != want.config {
			t.Errorf("%s writes %q, want %q", settings, config, want.config)
		}
	}

	for settings, want := range map[string]string{
		`{ enable = true; logLevel = "loud"; }`:   "programs.open-sesame.logLevel' is not of type `one of \"error\", \"warn\"",
		`{ enable = true; headless = "yes"; }`:    "programs.open-sesame.headless' is not of type `boolean'",
		`{ enable = true; settings.run = x: x; }`: "programs.open-sesame.settings.run' is not of type `TOML value'",
		`{ enable = true; colour = "green"; }`:    "The option `programs.open-sesame.colour' does not exist",
	} {
		if _, log, err := home(settings); err == nil || !strings.Contains(log, want) {
			t.Errorf("%s: %v, want an error with %q:\n%s", settings, err, want, log)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
