package dagger

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// An image without build users gets them, with the numbers of nixos/nix. An image with build users is not changed.
func TestImageWithoutBuildUsersGetsThem(t *testing.T) {
	x := open(t, options(t, matrix.X8664Linux))
	for name, test := range map[string]struct{ groups, users, want string }{
		"with users":     {"root:x:0:\nnixbld:x:7:nixbld1\n", "root:x:0:0::/root:/bin/bash\nnixbld1:x:8:7::/:/bin/false\n", "uid=8(nixbld1) gid=7(nixbld) groups=7(nixbld)\n"},
		"without":        {"root:x:0:\n", "root:x:0:0::/root:/bin/bash\n", "uid=30001(nixbld1) gid=30000(nixbld) groups=30000(nixbld)\n"},
		"no final break": {"root:x:0:", "root:x:0:0::/root:/bin/bash", "uid=30001(nixbld1) gid=30000(nixbld) groups=30000(nixbld)\n"},
	} {
		c, err := withBuildUsers(t.Context(), x.rootfs.WithNewFile("/etc/group", test.groups).WithNewFile("/etc/passwd", test.users))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.WithExec([]string{"id", "nixbld1"}).Stdout(t.Context())
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
	c, err := withBuildUsers(t.Context(), x.rootfs.WithoutFiles([]string{"/etc/group", "/etc/passwd"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.WithExec([]string{"bash", "-c", "cat /etc/passwd; cat /etc/group"}).Stdout(t.Context()); err != nil || strings.Count(got, "\n") != buildUsers+1 {
		t.Errorf("in an image without any users: %q, %v", got, err)
	}
}

// A builder in a container cannot change its inputs.
func TestBuildersInContainersCannotChangeTheirInputs(t *testing.T) {
	x := open(t, options(t, matrix.X8664Linux))
	for settings, want := range map[string]bool{"": false, "root": true} {
		report := buildProbe(t, x, settings == "root")
		if report.WritableInputs != want || !report.Sandboxed() {
			t.Errorf("builders of %q: %+v", settings, report)
		}
	}
}

func buildProbe(t *testing.T, x *Executor, asRoot bool) probe.Report {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+probe.Name, probe.ELF(matrix.X8664Linux), 0o755); err != nil {
		t.Fatal(err)
	}
	placed, err := x.AddPath(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	settings := nix.Settings{"sandbox": "true", "sandbox-fallback": "false", "sandbox-build-dir": "/build", "substituters": ""}
	if asRoot {
		settings["build-users-group"] = ""
	}
	out, err := x.Run(t.Context(), engine.Command{
		Program: "nix-build", Args: []string{"--no-out-link", "-E", probe.Expression(matrix.X8664Linux, placed+"/"+probe.Name, rand.Text())},
		Settings: settings, Privileged: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := x.Run(t.Context(), engine.Command{Program: "cat", Args: []string{strings.TrimSpace(string(out))}})
	if err != nil {
		t.Fatal(err)
	}
	report, err := probe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
