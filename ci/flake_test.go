package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
)

const packageFile = "../nix/package.nix"

// copyModule copies what belongs to this repository, without .git and results of runs.
func copyModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	top := os.DirFS("..")
	err := fs.WalkDir(top, ".", func(path string, d fs.DirEntry, err error) error {
		target := filepath.Join(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || d.Name() == "out"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular(): // such as .git in a worktree's place
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := fs.ReadFile(top, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// nix/package.nix has the NAR hash of the directory that `go mod vendor` makes, which is what buildGoModule fetches.
func TestVendorHash(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("copies all modules; not with -short")
	}
	dir := copyModule(t)
	cmd := exec.CommandContext(t.Context(), "go", "mod", "vendor")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go mod vendor: %v\n%s", err, out)
	}
	hash, _, err := nar.HashTree(t.Context(), filepath.Join(dir, "vendor"))
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`vendorHash = "(.*)"`)
	text := readTest(t, packageFile)
	want := `vendorHash = "` + hash.SRI() + `"`
	switch got := field.FindString(text); {
	case got == want:
	case *update:
		if err := os.WriteFile(packageFile, []byte(strings.Replace(text, got, want, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("nix/package.nix has %s, want %s: run the test with -update", got, want)
	}
}

// What the flake states about this source is true.
func TestFlakeAgreesWithModule(t *testing.T) {
	flake, pkg, module := readTest(t, "../flake.nix"), readTest(t, packageFile), readTest(t, "../go.mod")
	if want := `version = "` + sourceVersion + `";`; !strings.Contains(pkg, want) {
		t.Errorf("nix/package.nix does not have %s, the version of ci/cmd_version.go", want)
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.(\d+)$`).FindStringSubmatch(module)
	offered := regexp.MustCompile(`has Go (\d+\.\d+)\.(\d+), and go\.mod needs (\d+\.\d+)`).FindStringSubmatch(flake)
	if language == nil || offered == nil || offered[1] != language[1] || offered[3] != language[1] {
		t.Errorf("go.mod has %q, the comment on nixpkgs in flake.nix %q: name a nixpkgs with that Go", language, offered)
	}
}

// flakeTest evaluates the flake of this repository with the stand-in for nixpkgs, in a separate store.
type flakeTest struct {
	t       *testing.T
	standIn string
	flake   string
	hash    nix.Hash
	store   string // its root
	environ []string
}

const testCommit = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

// testTime is that of the commit, and of all files: Nix compares them.
var testTime = time.Date(2026, 11, 30, 22, 4, 26, 0, time.UTC)

// newFlakeTest takes the file that the package installs as the program.
func newFlakeTest(t *testing.T, program string) *flakeTest {
	t.Helper()
	nixtest.Need(t)
	switch {
	case os.Geteuid() != 0:
		t.Skip("needs root: it makes its own store")
	case testing.Short():
		t.Skip("runs Nix; not with -short")
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	f := &flakeTest{t: t, standIn: filepath.Join(dir, "nixpkgs"), store: filepath.Join(dir, "store"), flake: copyModule(t)}
	for _, err := range []error{
		os.CopyFS(f.standIn, os.DirFS("testdata/nixpkgs")),
		os.CopyFS(filepath.Join(f.standIn, "base"), os.DirFS("../example/flake/nixpkgs")),
		os.WriteFile(filepath.Join(f.standIn, "program"), []byte(readTest(t, program)), 0o755),
		f.lockStandIn(),
		filepath.WalkDir(f.flake, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Chtimes(path, testTime, testTime))
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	hash, _, err := nar.HashTree(t.Context(), f.flake)
	if err != nil {
		t.Fatal(err)
	}
	f.hash = hash
	f.environ = append(os.Environ(), "NIX_REMOTE=local?root="+f.store, "HOME="+dir, "XDG_CACHE_HOME="+dir,
		"NIX_CONFIG=experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\nwarn-dirty = false\n"+
			"sandbox = false\nextra-platforms = aarch64-linux x86_64-linux")
	return f
}

// lockStandIn makes flake.lock name the stand-in. Nix gives a flake no commit if --override-input does so.
func (f *flakeTest) lockStandIn() error {
	hash, _, err := nar.HashTree(f.t.Context(), f.standIn)
	if err != nil {
		return err
	}
	file := filepath.Join(f.flake, "flake.lock")
	var lock struct {
		Nodes   map[string]map[string]any `json:"nodes"`
		Root    string                    `json:"root"`
		Version int                       `json:"version"`
	}
	if err := json.Unmarshal([]byte(readTest(f.t, file)), &lock); err != nil {
		return err
	}
	lock.Nodes["nixpkgs"]["locked"] = map[string]any{"type": "path", "path": f.standIn, "narHash": hash.SRI()}
	data, err := json.Marshal(lock)
	return errors.Join(err, os.WriteFile(file, data, 0o644))
}

// run runs a command of Nix on an attribute of the flake, at the commit.
func (f *flakeTest) run(attribute string, args ...string) string {
	f.t.Helper()
	ref := url.Values{"lastModified": {strconv.FormatInt(testTime.Unix(), 10)}, "rev": {testCommit}, "narHash": {f.hash.SRI()}}
	args = append(args, "--no-update-lock-file", "path:"+f.flake+"?"+ref.Encode()+"#"+attribute)
	cmd := exec.CommandContext(f.t.Context(), "nix", args...)
	cmd.Env = f.environ
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// eval evaluates a function of an attribute of the flake.
func (f *flakeTest) eval(into any, attribute, function string) {
	f.t.Helper()
	out := f.run(attribute, "eval", "--json", "--apply", function)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
}

// The flake of this repository evaluates for both systems, and states what is to be built.
func TestFlakeOfThisRepository(t *testing.T) {
	t.Parallel()
	f := newFlakeTest(t, "../LICENSE") // nothing is built
	type evaluated struct {
		Names, Source, SubPackages, Ldflags, Tools []string
		Name, Cgo, Main, System                    string
		IsDefault                                  bool
	}
	var packages map[string]evaluated
	f.eval(&packages, "packages", `builtins.mapAttrs (system: p: let a = p.default.arguments; in {
		Names = builtins.attrNames p; IsDefault = p.default.drvPath == p.open-sesame-ci.drvPath;
		Name = p.default.name; System = p.default.system; Main = p.default.meta.mainProgram;
		Source = builtins.attrNames (builtins.readDir a.src.outPath); Cgo = toString a.env.CGO_ENABLED;
		Tools = map (t: t.name) a.nativeBuildInputs; SubPackages = a.subPackages; Ldflags = a.ldflags;
	})`)
	want := evaluated{
		Names: []string{"default", "open-sesame-ci"}, IsDefault: true,
		Name: toolName + "-" + sourceVersion, Main: toolName, Cgo: "0",
		Source:      []string{"cachix", "ci", "example", "go.mod", "go.sum", "internal", "matrix", "pipelines"},
		SubPackages: []string{"ci"}, Tools: []string{"install-shell-files"},
		Ldflags: []string{"-X main.commit=" + testCommit, "-X main.commitTime=20261130220426"},
	}
	wants := map[string]evaluated{}
	for _, want.System = range []string{"x86_64-linux", "aarch64-linux"} {
		wants[want.System] = want
	}
	if diff := cmp.Diff(wants, packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}

	tools := []string{"git", "make", "go", "gopls"}
	var shells map[string][]string
	f.eval(&shells, "devShells", "builtins.mapAttrs (system: s: map (p: p.pname) s.default.nativeBuildInputs)")
	if diff := cmp.Diff(map[string][]string{"x86_64-linux": tools, "aarch64-linux": tools}, shells); diff != "" {
		t.Errorf("tools of the shells (-want +got):\n%s", diff)
	}

	var overlay map[string]string
	f.eval(&overlay, "overlays.default", `overlay:
		(overlay { callPackage = file: arguments: arguments // { file = baseNameOf file; }; } { }).open-sesame-ci`)
	call := map[string]string{"file": "package.nix", "commit": testCommit, "commitTime": "20261130220426"}
	if diff := cmp.Diff(call, overlay); diff != "" {
		t.Errorf("package of the overlay (-want +got):\n%s", diff)
	}
}

// The package has the program under its own name, with man pages and completions for that name.
func TestInstalledFiles(t *testing.T) {
	t.Parallel()
	system := map[string]string{"amd64": "x86_64-linux", "arm64": "aarch64-linux"}[runtime.GOARCH]
	if system == "" {
		t.Skip("the flake has no package for this machine")
	}
	f := newFlakeTest(t, buildCI(t))
	out := filepath.Join(f.store, f.run("packages."+system+".default.outPath", "eval", "--raw"))
	f.run("packages."+system+".default", "build", "--no-link")
	for file, want := range map[string]string{
		"bin/open-sesame-ci":                                    "\x7fELF",
		"share/man/man1/open-sesame-ci.1":                       `.TH "OPEN-SESAME-CI"`,
		"share/man/man1/open-sesame-ci-release.1":               "open-sesame-ci release",
		"share/bash-completion/completions/open-sesame-ci.bash": "__start_open-sesame-ci open-sesame-ci",
		"share/fish/vendor_completions.d/open-sesame-ci.fish":   "complete -c open-sesame-ci",
		"share/zsh/site-functions/_open-sesame-ci":              "#compdef open-sesame-ci",
	} {
		if text := readTest(t, filepath.Join(out, file)); !strings.Contains(text, want) {
			t.Errorf("%s does not contain %q", file, want)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "bin/ci")); err == nil {
		t.Error("bin/ci is there too")
	}
}
