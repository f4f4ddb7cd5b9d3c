package contract

import (
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/example"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// releasedUnits returns the units of Open Sesame 1.14.2, by name. Their directives have the release's values.
func releasedUnits(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := example.WriteFixture(dir, "open-sesame-1.14.2"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "contrib/systemd/*"))
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]string{}
	for _, file := range files {
		units[filepath.Base(file)] = read(t, file)
	}
	return units
}

// install returns the two packages with these units, as a build leaves them: ExecStart has a program of the package.
func install(units map[string]string) Build {
	c := openSesame()
	b := Build{System: matrix.X8664Linux, Outputs: map[matrix.Package]nix.StorePath{}, Files: Files{}}
	for name, out := range map[matrix.Package]nix.StorePath{"open-sesame": objectA, "open-sesame-desktop": objectB} {
		in := func(name string) string { return path.Join(string(out), name) }
		for dir := c.Units.Dir; dir != "."; dir = path.Dir(dir) {
			b.Files[in(dir)] = &File{Mode: fs.ModeDir | 0o755}
		}
		b.Files[in(".")], b.Files[in("bin")] = &File{Mode: fs.ModeDir | 0o755}, &File{Mode: fs.ModeDir | 0o755}
		for _, program := range c.Packages[name].Binaries {
			b.Files[in("bin/"+program)] = &File{Mode: 0o755}
		}
		for _, unit := range c.Packages[name].Units {
			text := strings.ReplaceAll(units[unit], "=/usr/bin/daemon-", "="+string(out)+"/bin/daemon-")
			b.Files[in(c.Units.Dir+"/"+unit)] = &File{Mode: 0o644, Data: []byte(text)}
		}
		b.Outputs[name] = out
	}
	return b
}

// brokenUnits returns the names of the unit checks that do not pass, without the package's name.
func brokenUnits(b Build) []string {
	c := openSesame()
	c.Units.Verify = false // it depends on the systemd of this machine
	var broken []string
	for _, r := range c.Built(b) {
		if unit, ok := strings.CutPrefix(r.Check, "units/"); ok && r.Status != Pass {
			_, unit, _ = strings.Cut(unit, "/")
			broken = append(broken, unit)
		}
	}
	return broken
}

func TestOpenSesameAcceptsTheUnitsOfItsRelease(t *testing.T) {
	units := releasedUnits(t)
	if len(units) != 9 {
		t.Errorf("%d units, want 9", len(units))
	}
	if broken := brokenUnits(install(units)); len(broken) > 0 {
		t.Errorf("broken: %s", strings.Join(broken, " "))
	}
}

// Without a required directive, or with a weaker value, the check of that directive fails, and no other.
func TestOpenSesameRejectsWeakerUnits(t *testing.T) {
	services := []string{"profile", "secrets", "launcher", "snippets", "wm", "clipboard", "input"}
	type mutation struct{ unit, old, new, check string }
	mutations := []mutation{
		{"secrets", "PrivateNetwork=yes", "PrivateNetwork=no", "PrivateNetwork"},
		{"secrets", "PrivateNetwork=yes\n", "", "PrivateNetwork"},
		{"secrets", "MemoryMax=256M", "MemoryMax=infinity", "MemoryMax"},
		{"launcher", "CapabilityBoundingSet=\n", "", "CapabilityBoundingSet"},
		{"launcher", "CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_SYS_ADMIN\n", "CapabilityBoundingSet"},
		{"launcher", "SystemCallArchitectures=native\n", "", "SystemCallArchitectures"},
		{"profile", "ProtectSystem=strict\n", "", "ProtectSystem"},
		{"profile", "ProtectHome=read-only", "ProtectHome=no", "ProtectHome"},
		{"wm", "Environment=", "ExecStartPre=/usr/bin/true\nEnvironment=", "forbidden"},
		{"wm", "/usr/bin/daemon-wm", "/usr/bin/daemon-window", "ExecStart"},
	}
	for _, s := range services {
		mutations = append(mutations,
			mutation{s, "Type=notify", "Type=simple", "Type"},
			mutation{s, "Restart=on-failure\n", "", "Restart"},
			mutation{s, "WatchdogSec=30\n", "", "WatchdogSec"},
			mutation{s, "NoNewPrivileges=yes", "NoNewPrivileges=no", "NoNewPrivileges"},
			mutation{s, "LimitCORE=0", "LimitCORE=infinity", "LimitCORE"},
			mutation{s, "LimitMEMLOCK=64M", "LimitMEMLOCK=8M", "LimitMEMLOCK"},
		)
	}
	units := releasedUnits(t)
	for _, m := range mutations {
		unit := "open-sesame-" + m.unit + ".service"
		if strings.Count(units[unit], m.old) != 1 {
			t.Fatalf("%s has %q %d times, want once", unit, m.old, strings.Count(units[unit], m.old))
		}
		weaker := maps.Clone(units)
		weaker[unit] = strings.Replace(units[unit], m.old, m.new, 1)
		if diff := cmp.Diff([]string{unit + "/" + m.check}, brokenUnits(install(weaker))); diff != "" {
			t.Errorf("%s with %q: broken (-want +got):\n%s", unit, m.new, diff)
		}
	}
}
