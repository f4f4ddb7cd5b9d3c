package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// evil is the text of an attacker: commands for GitHub's runner, escape sequences that set the clipboard and the title, an
// 8-bit one, characters that overwrite, reorder, hide and separate text, and invalid UTF-8.
const evil = "x\n::set-output name=manifest::evil\n \t::stop-commands::y\n##[error]z " +
	"\x1b]52;c;ZXZpbA==\x07\x1b]0;evil\x1b\\\x1b[2J\u009b2J\rEVIL\b\x00\x7f\u202egood\u2066\u200f\u061c\u2028::error::a\u2029\u0085b" +
	"\u200b#\u200b#\u200b[group]c\ufeff\U000e0041\xff\x9b"

// ownCommand matches a workflow command of the program. Its text can be an attacker's.
var ownCommand = regexp.MustCompile(`^::(group|endgroup|error|warning|add-mask)( (file|line)=[^:]*)?::`)

// checkShown fails if a text can control a terminal or GitHub's runner, or deceive a reader.
func checkShown(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		bad := func(r rune) bool {
			return r == utf8.RuneError || unicode.IsControl(r) && r != '\t' || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
		}
		rest := ownCommand.ReplaceAllString(line, "")
		switch i := strings.IndexFunc(rest, bad); {
		case i >= 0:
			t.Errorf("%s: %q is shown in %q", what, rest[i:min(i+12, len(rest))], line)
		case strings.HasPrefix(strings.TrimSpace(rest), "::"), strings.Contains(rest, "##["):
			t.Errorf("%s: a command is shown: %q", what, line)
		}
	}
}

// checkShown checks all output of a job's step.
func (j *githubJob) checkShown(t *testing.T, args []string) {
	t.Helper()
	what := fmt.Sprintf("%.80q", args)
	checkShown(t, what+", standard output", j.stdout.String())
	checkShown(t, what+", standard error", j.stderr.String())
	if j.stdout.Len()+j.stderr.Len() == 0 {
		t.Errorf("%s shows nothing", what)
	}
	output := readTest(t, j.output)
	if strings.Contains(output, "\nmanifest=evil") || strings.Contains(output, "::evil") {
		t.Errorf("%s: the outputs are\n%s", what, output)
	}
	j.stdout.Reset()
	j.stderr.Reset()
}

// Arguments can be inputs of a workflow. They are shown in errors only, and cleaned.
func TestArgumentsAreCleaned(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	writeTest(t, "empty/nix-cache-info", "StoreDir: /nix/store\n")
	for _, args := range [][]string{
		{evil},
		{"--" + evil},
		{"help", evil},
		{"build", evil},
		{"build", "--system", evil},
		{"build", "--package", evil, "--system", evil},
		{"build", "path:" + evil},
		{"build", "git+file:///nowhere?ref=" + evil},
		{"build", ".", "--ref", evil},
		{"build", "example", "--engine", evil},
		{"build", "example", "--out", "out/" + evil, "--engine", "none"},
		{"matrix", "--package", evil},
		{"matrix", "--github", "--package", "a" + strings.ReplaceAll(evil, " ", "")},
		{"compare", evil, evil},
		{"verify", evil},
		{"verify", "x", "--key", evil},
		{"report", evil},
		{"pin", evil},
		{"push", evil},
		{"push", "--from", evil},
		{"push", "--from", "empty", "--cachix", evil},
		{"reproduce", evil},
		{"check", "--contract", evil},
		{"init", evil},
		{"init", ".", "--cachix", evil},
		{"init", ".", "--cachix", "c", "--public-key", evil},
		{"__complete", evil, evil},
	} {
		if strings.Contains(strings.Join(args, ""), "\x00") {
			args = slices.Clone(args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "\x00", "") // an argument cannot contain it
			}
		}
		j.run(t, args...)
		j.checkShown(t, args)
	}
}

// A builder chooses the names and contents of compared files.
func TestComparedFilesAreCleaned(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	name := strings.NewReplacer("/", "", "\x00", "").Replace(evil)
	for _, side := range []string{"a", "b"} {
		writeTest(t, filepath.Join(side, name), "text\n"+evil+"\n"+side+evil+"\n")
		writeTest(t, filepath.Join(side, "only-in-"+side+name), evil)
		if err := os.Symlink(side+name, filepath.Join(side, "link")); err != nil {
			t.Fatal(err)
		}
	}
	// The report shows the names of archive members.
	for _, side := range []string{"a", "b"} {
		member := fmt.Sprintf("%-16.16s%-12s%-6s%-6s%-8s%-10d`\n", "m\x1b]0;x\x07\u202e/", "0", "0", "0", "644", 2) + side + "\n"
		writeTest(t, filepath.Join(side, "x.a"), "!<arch>\n"+member)
	}
	for _, args := range [][]string{
		{"compare", "a", "b"},
		{"compare", "a", "b", "--json"},
		{"compare", "a", "b", "--html", "page.html"},
		{"compare", filepath.Join("a", name), filepath.Join("b", name)},
	} {
		if code := j.run(t, args...); code != exitDifferent {
			t.Errorf("%.60q: exit code %d\n%.500q", args, code, &j.stderr)
		}
		j.checkShown(t, args)
	}
	// A browser does not execute workflow commands.
	checkShown(t, "the page", strings.ReplaceAll(readTest(t, "page.html"), "##[", ""))
}

// Anyone can write a manifest. Each of its texts is replaced in turn.
func TestFieldsOfManifestsAreCleaned(t *testing.T) {
	j := newJob(t, pushed("refs/heads/main"))
	m := publishedManifest()
	m.Settings = map[string]string{"substituters": "https://cache.nixos.org", "trusted-public-keys": "k-1:AAAA"}
	m.Source.URL = "path:nowhere"
	writeManifest(t, "good.json", m)
	fields := 0
	eachText(decodeTest(t, "good.json"), func(path string, document func(text string) any) {
		fields++
		for _, text := range []string{evil, "\x1b]0;evil\x07", "a\u202eb"} {
			writeManifest(t, "evil.json", document(text))
			for _, args := range [][]string{
				{"compare", "evil.json", "good.json"},
				{"compare", "evil.json", "good.json", "--json", "--html", "page.html"},
				{"report", "evil.json", "--system", "x86_64-linux", "--since", "none", "--pin=false"},
				{"report", "evil.json", "--system", "x86_64-linux", "--since", "evil.json", "--pin=false", "--json"},
				{"reproduce", "evil.json", "--engine", "none"},
				{"verify", "evil.json"},
			} {
				j.run(t, args...)
				j.checkShown(t, append([]string{path}, args...))
			}
		}
	})
	if fields < 20 {
		t.Errorf("%d fields were replaced", fields)
	}
}

// publishedManifest returns the manifest of a run whose outputs are in the cache, and can be pinned.
func publishedManifest() *run.Manifest {
	m := cellManifest(matrix.X8664Linux)
	m.Source.URL = defaultProject.Flake
	m.Cells[0].Publish = &run.PublishResult{Verdict: run.Published, Cache: "scopecreep-zip"}
	return m
}

func writeManifest(t *testing.T, file string, m any) {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	writeTest(t, file, string(data))
}

func decodeTest(t *testing.T, file string) any {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(readTest(t, file)), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// eachText visits each text of a document, with a function that returns the document with that text replaced.
func eachText(document any, visit func(path string, document func(text string) any)) {
	var walk func(path string, v any, whole func(any) any)
	walk = func(path string, v any, whole func(any) any) {
		switch v := v.(type) {
		case string:
			visit(path, func(text string) any { return whole(v + text) })
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s.%d", path, i), item, func(other any) any {
					all := slices.Clone(v)
					all[i] = other
					return whole(all)
				})
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(path+"."+name, v[name], func(other any) any {
					all := maps.Clone(v)
					all[name] = other
					return whole(all)
				})
			}
		}
	}
	walk("", document, func(v any) any { return v })
}

// The owner of a cache, or a proxy, chooses its answers.
func TestAnswersOfCachesAreCleaned(t *testing.T) {
	answer, err := json.Marshal(map[string]string{"error": evil, "message": evil})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"JSON": string(answer), "text": evil} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, body)
			}))
			defer server.Close()
			j := newJob(t, pushed("refs/heads/main"))
			writeManifest(t, "m.json", publishedManifest())
			for _, args := range [][]string{
				{"pin", "m.json", "--cachix-url", server.URL},
				{"pin", "name", "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello", "--cachix-url", server.URL},
				{"report", "m.json", "--system", "x86_64-linux", "--since", "none", "--cachix-url", server.URL},
				{"push", "--resume", "--cachix-url", server.URL},
			} {
				j.run(t, args...)
				j.checkShown(t, args)
			}
		})
	}
}

// The author of a flake chooses texts that Nix prints: error messages, traces, names of attributes.
func TestTextsOfAFlakeAreCleaned(t *testing.T) {
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	nixText := "x\\n::set-output name=manifest::evil\\n::stop-commands::y\\n##[error]z \x1b]52;c;ZXZpbA==\x07\u009b2J\\rEVIL\u202egood\u2028::error::a\u200b"
	for name, flake := range map[string]string{
		"error and trace": `{ outputs = _: builtins.trace "EVIL" (throw "EVIL"); }`,
		"names":           `{ description = "EVIL"; outputs = _: { packages.x86_64-linux = { "EVIL" = 1; open-sesame = { }."EVIL"; }; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, pushed("refs/heads/main"))
			t.Cleanup(func() { makeWritable(j.dir) })
			j.environ = append(j.environ, "NIX_REMOTE=local?root="+filepath.Join(j.dir, "store"))
			writeTest(t, "src/flake.nix", strings.ReplaceAll(flake, "EVIL", nixText))
			args := []string{
				"plan", "path:src", "--engine", "host", "--system", "x86_64-linux", "--package", "open-sesame",
				"--substituter", "none", "--served-by", "none",
			} // which are asked over the network
			if code := j.run(t, args...); code != exitFailed || !strings.Contains(j.stderr.String(), "stop-commands") {
				t.Errorf("exit code %d, and the attack is not in\n%s", code, &j.stderr)
			}
			j.checkShown(t, args)
		})
	}
}
