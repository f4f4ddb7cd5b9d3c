package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// stranger is a file of a stranger, with each setting that extends trust. SERVER gets what they would send.
func stranger(server string) map[string]string {
	return map[string]string{
		"substituters": `["` + server + `"]`, "trusted-keys": `["evil-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]`, "served-by": `"` + server + `"`,
		"cachix": `"evil"`, "public-key": `"evil.cachix.org-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`, "secret-env": `"AWS_SECRET_ACCESS_KEY"`,
		"keep-revisions": "1", "engines": `["x86_64-linux=tcp://evil.example:1"]`, "builders": `["ssh-ng://evil.example x86_64-linux"]`,
	}
}

// consenting is a user with a flake that has a file.
type consenting struct {
	process process
	record  *record.Record
	flake   string
	stderr  bytes.Buffer
	notices []run.Notice
}

func newConsenting(t *testing.T, environ ...string) *consenting {
	t.Helper()
	dir := t.TempDir()
	r, err := record.Open(filepath.Join(dir, "record"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	u := &consenting{record: r, flake: filepath.Join(dir, "flake")}
	u.process = process{stderr: &u.stderr, environ: append(environ, "AWS_SECRET_ACCESS_KEY=another-secret"), secrets: secrets{}}
	writeTest(t, filepath.Join(u.flake, "flake.nix"), "{ outputs = _: { }; }")
	return u
}

// settled returns the options of a run of the flake with the file.
func (u *consenting) settled(t *testing.T, text string, accept bool, rev string) options {
	t.Helper()
	writeTest(t, filepath.Join(u.flake, project.FileName), text)
	o := options{command: "release", acceptConfig: accept}
	o.project, o.engineOptions.jobs, o.contract.mode = projectOf(u.flake), "auto", enforce
	u.notices = nil
	c := consent{u.process, u.record, func(n run.Notice) { u.notices = append(u.notices, n) }}
	if err := c.configure(t.Context(), &o, run.Snapshot{Dir: u.flake, Rev: rev}); err != nil {
		t.Fatal(err)
	}
	return o
}

// A stranger's file extends trust by no setting. With consent, each setting applies.
func TestStrangersFileExtendsNoTrust(t *testing.T) {
	for field := range reflect.TypeFor[project.Trust]().Fields() {
		key := field.Tag.Get("toml")
		value, known := stranger("https://evil.example")[key]
		if !known {
			t.Errorf("setting %s: what would a stranger's file have?", key)
			continue
		}
		t.Run(key, func(t *testing.T) {
			u := newConsenting(t)
			text := key + " = " + value + "\n"
			o := u.settled(t, text, false, "")
			if !sameTrust(o.project.Trust, project.Default().Trust) || len(o.engines.texts)+len(o.builders) > 0 ||
				o.publish.cachix != "" || o.publish.secret != "" {
				t.Errorf("without consent the run has %+v", o.project.Trust)
			}
			if len(u.notices) != 1 || !strings.Contains(u.notices[0].Text, "without "+key) || !strings.Contains(u.notices[0].Hint, "--accept-config") {
				t.Errorf("the notices are %+v", u.notices)
			}
			if !slices.ContainsFunc(o.settings(), func(s project.Setting) bool {
				return s.Name == key && strings.HasSuffix(s.Origin, "toml:1, needs consent")
			}) {
				t.Errorf("plan -v shows %+v", o.settings())
			}
			if o := u.settled(t, text, true, ""); sameTrust(o.project.Trust, project.Default().Trust) || len(u.notices) > 0 {
				t.Errorf("with consent the run has %+v", o.project.Trust)
			}
			if o := u.settled(t, "# moved\n"+text, false, ""); sameTrust(o.project.Trust, project.Default().Trust) {
				t.Error("the consent is not remembered")
			}
			if o := u.settled(t, "cachix = 'third'\n"+strings.Replace(text, "cachix = ", "# ", 1), false, ""); !sameTrust(o.project.Trust, project.Default().Trust) {
				t.Error("other settings have the consent")
			}
		})
	}
}

// No server of a stranger's file gets a request, and the variable that it names is not read as a secret.
func TestStrangersFileSendsNothing(t *testing.T) {
	t.Parallel()
	store := needsNix(t)
	var mu sync.Mutex
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.URL.String())
		http.NotFound(w, r)
	}))
	defer server.Close()
	dir := t.TempDir()
	var all strings.Builder
	for key, value := range stranger(server.URL) {
		all.WriteString(key + " = " + value + "\n")
	}
	writeTest(t, filepath.Join(dir, "flake", project.FileName), all.String())
	writeTest(t, filepath.Join(dir, "flake", "flake.nix"), `{ outputs = _: { packages.x86_64-linux.a = derivation {
		name = "a"; system = "builtin"; builder = "builtin:buildenv"; manifest = builtins.toFile "m" ""; derivations = [ ]; }; }; }`)
	var stdout, stderr bytes.Buffer
	secrets := secrets{}
	code := execute(t.Context(), []string{
		"release", "--engine", "host", "--system", "x86_64-linux", "--substituter", "none", "--cachix-url", server.URL,
		"--out", filepath.Join(dir, "out"), "--", "path:" + filepath.Join(dir, "flake"),
	}, process{
		stdout: &stdout, stderr: &stderr, secrets: secrets,
		environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NIX_REMOTE=" + store, "TMPDIR=" + os.TempDir(), "AWS_SECRET_ACCESS_KEY=another-secret"},
	})
	if code != exitOK || !strings.Contains(stdout.String(), "-a\n") {
		t.Errorf("exit code %d:\n%s", code, &stderr)
	}
	if len(requests) > 0 {
		t.Errorf("the server was asked for %v", requests)
	}
	if _, read := secrets["AWS_SECRET_ACCESS_KEY"]; read {
		t.Error("the variable was read as a secret")
	}
}

// On GitHub the event decides. It does so before a flag or an earlier consent.
func TestEventDecidesAboutConsent(t *testing.T) {
	const text, own, other = "cachix = 'c'\n", "0123456789012345678901234567890123456789", "1111111111111111111111111111111111111111"
	for name, test := range map[string]struct {
		event          githubEvent
		accept, before bool
		rev            string
		want           bool
	}{
		"push":                            {pushed("refs/heads/main"), false, false, own, true},
		"push, another commit":            {pushed("refs/heads/main"), false, false, other, false},
		"push, tree with changes":         {pushed("refs/heads/main"), false, false, "", false},
		"push, another commit, with flag": {pushed("refs/heads/main"), true, false, other, true},
		"pull request":                    {pulled("pull_request", callersRepository, true), false, false, own, true},
		"fork":                            {pulled("pull_request", "c/b", false), false, false, own, false},
		"fork, with flag":                 {pulled("pull_request", "c/b", false), true, false, own, false},
		"fork, remembered":                {pulled("pull_request", "c/b", false), false, true, own, false},
	} {
		t.Run(name, func(t *testing.T) {
			u := newConsenting(t)
			if test.before {
				u.settled(t, text, true, "")
			}
			u.process.environ = append(newJobElsewhere(t, test.event).environ, "GITHUB_SHA="+own)
			if got := u.settled(t, text, test.accept, test.rev).project.Cachix == "c"; got != test.want {
				t.Errorf("consent %t, want %t: %+v", got, test.want, u.notices)
			}
		})
	}
}

// On a terminal one question is asked. The answer is remembered for these settings of this flake alone.
func TestQuestionOnATerminal(t *testing.T) {
	u := newConsenting(t)
	person, program := openTerminal(t)
	u.process.stdin, u.process.stderr = program, program
	text := "cachix = 'mine'\nserved-by = \"https://c.example/\\u001b]0;title\\u0007\"\n"
	// answered runs the flake, and types the line when a question is shown. It returns what the terminal shows.
	answered := func(line, text string) (consents bool, shown string) {
		t.Helper()
		done := make(chan string)
		go func() {
			var all []byte
			for b := make([]byte, 1); !bytes.HasSuffix(all, []byte("END")); all = append(all, b[0]) {
				if bytes.HasSuffix(all, []byte("Type yes: ")) {
					_, _ = person.WriteString(line + "\n")
				}
				if _, err := person.Read(b); err != nil {
					break
				}
			}
			done <- string(all)
		}()
		consents = u.settled(t, text, false, "").project.Cachix != ""
		_, _ = program.WriteString("END")
		return consents, <-done
	}
	for _, no := range []string{"no", "", "y", "no\nyes"} {
		yes, shown := answered(no, text)
		if yes || strings.Count(shown, "Accept them?") != 1 || strings.ContainsAny(shown, "\x1b\x07") || !strings.Contains(shown, "cachix = mine") {
			t.Errorf("the answer %q: consent %t, question %q", no, yes, shown)
		}
	}
	// What was typed before the question does not answer it.
	_, _ = person.WriteString("yes\nyes\n")
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(program.Fd()), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
	if yes, _ := answered("no", text); yes {
		t.Error("a line from before the question accepts")
	}
	if yes, shown := answered("yes", text); !yes || !strings.Contains(shown, "Accept them?") {
		t.Error("an accepted file has no consent")
	}
	if yes, shown := answered("", text+"packages = ['a']\n"); !yes || strings.Contains(shown, "Accept them?") {
		t.Error("the answer is not remembered")
	}
	if yes, shown := answered("no", text+"substituters = ['https://s.example']\n"); yes || !strings.Contains(shown, "substituters = https://s.example") {
		t.Error("a changed file is not asked about")
	}
	if err := os.Rename(u.flake, u.flake+"2"); err != nil {
		t.Fatal(err)
	}
	u.flake += "2"
	if yes, shown := answered("no", text); yes || !strings.Contains(shown, "Accept them?") {
		t.Error("a moved flake is not asked about")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c := consent{process: u.process, record: u.record}
	if _, err := c.ask(ctx, "f", *project.Default()); err == nil {
		t.Error("the end of the run does not end the question")
	}
}

// A consent is about a flake at any revision, and not about another directory of its repository.
func TestIdentityOfAFlake(t *testing.T) {
	id := func(text string) string {
		t.Helper()
		id, err := identity(text, run.Snapshot{})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, same := range [][2]string{{"github:o/r", "github:o/r/v1"}, {"git+https://h.example/r", "git+https://h.example/r?ref=main"}} {
		if id(same[0]) != id(same[1]) {
			t.Errorf("%s and %s differ", same[0], same[1])
		}
	}
	// The same words, cut at another place.
	dir := t.TempDir()
	writeTest(t, filepath.Join(dir, "a", "f"), "")
	writeTest(t, filepath.Join(dir, "a b", "f"), "")
	one, err1 := identity(filepath.Join(dir, "a b"), run.Snapshot{Subdir: "c"})
	two, err2 := identity(filepath.Join(dir, "a"), run.Snapshot{Subdir: "b c"})
	if one == two || err1 != nil || err2 != nil {
		t.Errorf("%q and %q, errors %v, %v", one, two, err1, err2)
	}
	for _, other := range []string{"github:o/r?dir=sub", "github:o/r?host=evil.example", "github:p/r", "gitlab:o/r"} {
		if id("github:o/r") == id(other) {
			t.Errorf("github:o/r and %s are the same", other)
		}
	}
}

// A value that no run can use is an error with its line, before anything is asked.
func TestValuesOfSettingsAreChecked(t *testing.T) {
	for setting, want := range map[string]string{
		"cachix = '../x'":         "parse cache name",
		"public-key = 'x'":        "parse public key",
		"trusted-keys = ['x']":    "parse public key",
		"secret-env = 'A=B c'":    "parse name of secret",
		"secret-env = 'PATH'":     "parse name of secret",
		"engines = ['podman']":    "not auto, dagger, host or SYSTEM=URL",
		"engines = ['host', '=']": "parse system",
	} {
		dir := t.TempDir()
		writeTest(t, filepath.Join(dir, project.FileName), "packages = ['a']\n"+setting+"\n")
		_, err := readProject("path:"+dir, run.Snapshot{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), project.FileName+":2:") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want line 2 and %q", setting, err, want)
		}
	}
}

// An error about a file of the tree names it as the flake does, and not the copy that was read.
func TestErrorAboutAFileOfTheTreeNamesNoCopy(t *testing.T) {
	dir := t.TempDir()
	writeTest(t, filepath.Join(dir, "sub", "c.toml", "file"), "")
	for _, file := range []string{".", "c.toml", "gone.toml"} {
		writeTest(t, filepath.Join(dir, "sub", project.FileName), "contract-file = '"+file+"'\n")
		_, err := readProject("./f", run.Snapshot{Dir: dir, Subdir: "sub"})
		if err == nil || strings.Contains(err.Error(), dir) || !strings.HasPrefix(err.Error(), "parse project sub/nix-release.toml:1:1: contract-file: "+filepath.Join("sub", file)+": ") {
			t.Errorf("%s: error %v", file, err)
		}
	}
}

// A setting that a flag overrides needs no consent, and no warning says that it is left out.
func TestFlagNeedsNoConsent(t *testing.T) {
	const text = "cachix = 'evil'\nengines = ['x86_64-linux=tcp://evil.example:1']\n"
	for name, test := range map[string]struct {
		given []givenFlag
		want  string
	}{
		"all":  {[]givenFlag{{name: "cachix"}, {name: "engine"}}, ""},
		"some": {[]givenFlag{{name: "engine"}}, "nix-release.toml is used without cachix: settings that extend trust need consent"},
	} {
		u := newConsenting(t)
		o := options{command: "release", given: test.given}
		o.project, o.engineOptions.jobs, o.contract.mode = projectOf(u.flake), "auto", enforce
		writeTest(t, filepath.Join(u.flake, project.FileName), text)
		var got string
		c := consent{u.process, u.record, func(n run.Notice) { got += n.Text }}
		if err := c.configure(t.Context(), &o, run.Snapshot{Dir: u.flake}); err != nil {
			t.Fatal(err)
		}
		if got != test.want || o.project.Cachix != "" || len(o.engines.texts) > 0 {
			t.Errorf("%s: notice %q, want %q; the run has %+v", name, got, test.want, o.project.Trust)
		}
	}
}
