package flake

import (
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// server serves the repositories below a directory with git's own CGI program, with a password.
func server(t *testing.T, dir, password string) *httptest.Server {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("git-http-backend is not installed:", err)
	}
	git := &cgi.Handler{
		Path: backend,
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + t.TempDir()},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, given, _ := r.BasicAuth(); given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// history makes a bare repository with two commits, an annotated tag, and a commit that no branch leads to any more.
func history(t *testing.T) (r repo, bare, first, second, lost string) {
	r = newFlake(t, map[string]string{".gitattributes": "v export-subst\nx export-ignore\n", "v": "$Format:%H%d$", "x": "", "n": "1"})
	first = r.git("rev-parse", "HEAD")
	r.git("tag", "--annotate", "--message=x", "v1.0.0")
	r.write(map[string]string{"n": "1.5"})
	r.commit()
	r.write(map[string]string{"n": "2"})
	second = r.commit()
	r.git("branch", "feature/x", first)
	bare = filepath.Join(t.TempDir(), "r.git")
	r.git("clone", "--quiet", "--bare", r.dir, bare)
	r.git("remote", "add", "origin", bare)
	r.git("checkout", "--quiet", "--detach")
	r.write(map[string]string{"n": "3"})
	lost = r.commit()
	r.git("push", "--quiet", "origin", "HEAD:refs/heads/gone")
	r.git("push", "--quiet", "origin", ":refs/heads/gone")
	return r, bare, first, second, lost
}

func TestRemote(t *testing.T) {
	t.Parallel()
	r, bare, first, second, lost := history(t)
	s := server(t, filepath.Dir(bare), "")
	url := s.URL + "/r.git"
	snapshots := map[string]string{}
	for _, tt := range []struct{ query, revision, want string }{
		{"", "", second},
		{"", "main", second},
		{"", "v1.0.0", first},
		{"", "feature/x", first},
		{"?ref=refs/tags/v1.0.0", "", first},
		{"?rev=" + first, "", first},
		{"?ref=main&rev=" + first, "", first},
		{"", first[:7], first},
		{"", second, second},
	} {
		tk := snapshotter(t, url+tt.query, r.env)
		tk.Revision = tt.revision
		got := take(t, tk)
		if got.Rev != tt.want || got.LastModified != commitTime || got.Dirty || got.URL != "git+"+url+"?rev="+tt.want {
			t.Errorf("%s at %q: got %+v, want %s", tt.query, tt.revision, got, tt.want)
		}
		if hash, ok := snapshots[got.Rev]; ok && hash != got.NARHash {
			t.Errorf("%s at %q: another tree for the same commit: %q", tt.query, tt.revision, readFiles(t, got.Dir))
		}
		snapshots[got.Rev] = got.NARHash
	}
	// A checkout of the same commit gives the same tree.
	local := snapshotter(t, r.dir, r.env)
	local.Revision = second
	if got := take(t, local); got.NARHash != snapshots[second] {
		t.Errorf("NAR hash is %s remotely, %s locally", snapshots[second], got.NARHash)
	}

	for _, tt := range []struct{ revision, text, advice string }{
		{"v1.0.1", `no tag, branch or commit "v1.0.1"`, "did you mean v1.0.0?"},
		{"--upload-pack=x", "no tag, branch or commit", ""},
		{"refs/heads/*", "no tag, branch or commit", ""},
		{"abcdef12", "no tag, branch or commit", "push it"},
		{strings.Repeat("0", 40), "no tag, branch or commit", "push it"},
	} {
		tk := snapshotter(t, url, r.env)
		tk.Revision = tt.revision
		takeFails(t, tk, tt.text, tt.advice)
	}
	// New servers serve all their commits, old ones only those that their references contain.
	tk := snapshotter(t, url, r.env)
	tk.Revision = lost
	if got := take(t, tk); got.Rev != lost {
		t.Errorf("got %+v", got)
	}
	tk = snapshotter(t, url, append(slices.Clone(r.env), "GIT_CONFIG_KEY_0=protocol.version", "GIT_CONFIG_VALUE_0=0"))
	tk.Revision = lost
	takeFails(t, tk, "no tag, branch or commit", "push it")
	tk.Revision = r.git("rev-parse", second+"^")
	if got := take(t, tk); got.Rev != tk.Revision {
		t.Errorf("got %+v", got)
	}
}

func TestForge(t *testing.T) {
	t.Parallel()
	r, bare, _, second, _ := history(t)
	for ref, want := range map[string]string{
		"github:h/r":                        "github:h/r/" + second,
		"github:h/r?host=h&dir=.":           "github:h/r/" + second + "?host=h",
		"gitlab:h/r/main":                   "gitlab:h/r/" + second,
		"sourcehut:~h/r/v1.0.0":             "sourcehut:~h/r/",
		"https://github.com/h/r":            "github:h/r/" + second,
		"git+https://s3cret@gitlab.com/h/r": "gitlab:h/r/" + second,
		"git+https://s3cret@h.org/h/r":      "git+https://h.org/h/r?rev=" + second,
	} {
		tk := snapshotter(t, ref, r.env)
		// Git's own configuration takes the place of the forges.
		tk.Env = append(slices.Clone(r.env), "GIT_CONFIG_KEY_0=url.file://"+bare+".insteadOf", "GIT_CONFIG_VALUE_0="+tk.Ref.CloneURL())
		if s := take(t, tk); !strings.HasPrefix(s.URL, want) {
			t.Errorf("%s: URL is %s, want %s", ref, s.URL, want)
		}
	}
}

func TestRemoteFails(t *testing.T) {
	t.Parallel()
	r, bare, _, _, _ := history(t)
	s := server(t, filepath.Dir(bare), "right")
	withUser := strings.Replace(s.URL, "http://", "http://user:s3cret@", 1)
	for _, tt := range []struct{ ref, text, advice string }{
		{s.URL + "/r.git", "terminal prompts disabled", "git credentials"},
		{withUser + "/r.git", "Authentication failed", "git credentials"},
		{"https://user:s3cret@host.invalid/o/r.git", "Could not resolve host", "network"},
		{"git+file:///nowhere", "no such file", ""},
		{"ssh://git@host.invalid/o/r", "git fetch: ", ""},
	} {
		tk := snapshotter(t, tt.ref, r.env)
		takeFails(t, tk, tt.text, tt.advice)
		if _, err := tk.Snapshot(t.Context()); strings.Contains(err.Error()+strings.Join(hint.Of(err), ""), "s3cret") {
			t.Errorf("error %q holds the password", err)
		}
	}
	tk := snapshotter(t, strings.Replace(s.URL, "http://", "http://user:right@", 1)+"/r.git", r.env)
	if s := take(t, tk); strings.Contains(s.URL, "right") || strings.Contains(s.URL, "user") {
		t.Errorf("URL is %s", s.URL)
	}
	empty := newRepo(t, "empty")
	anyone := server(t, filepath.Dir(empty.dir), "")
	takeFails(t, snapshotter(t, anyone.URL+"/empty/.git", r.env), "couldn't find remote ref HEAD", "--ref")
}

func TestGitHints(t *testing.T) {
	for stderr, want := range map[string]string{
		"ERROR: Repository not found.\nfatal: Could not read from remote repository.": "credentials",
		"git@h: Permission denied (publickey).\nfatal: Could not read":                "credentials",
		"Host key verification failed.":                                               "credentials",
		"ssh: Could not resolve hostname h: Name or service not known":                "network",
		"fatal: something else":                                                       "",
	} {
		err := withGitHint(&gitError{"fetch", 128, stderr})
		if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, want) || (want == "") != (hints == "") {
			t.Errorf("%q has the hints %q, want %q", stderr, hints, want)
		}
	}
	err := error(&gitError{"fetch", 128, "warning: x\nfatal: the cause\nmore\n"})
	if err.Error() != "git fetch: the cause" || !failedWith(errors.Join(err), "more") {
		t.Error(err)
	}
}

// TestNeverPrompts has a server that asks for a password, and an SSH that would ask on the terminal.
func TestNeverPrompts(t *testing.T) {
	r := newFlake(t, nil)
	script := filepath.Join(t.TempDir(), "ssh")
	writeFiles(t, filepath.Dir(script), map[string]string{"ssh": "#!/bin/sh\n(read -r answer < /dev/tty) 2>&1 || { echo no terminal >&2; exit 255; }\n"})
	start := time.Now()
	takeFails(t, snapshotter(t, "ssh://git@example.org/o/r", append(slices.Clone(r.env), "GIT_SSH="+script)), "git fetch: ", "")
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}
