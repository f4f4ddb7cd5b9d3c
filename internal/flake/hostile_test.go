package flake

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// programs are the settings of git that name a program, from git-config(1) and the pages that it refers to
// (gitattributes, githooks, git-credential, git-difftool, git-mergetool, git-instaweb, git-web--browse, git-send-email,
// git-trailer, git-maintenance, git-submodule), as of git 2.51. COMMAND becomes a command that leaves a mark.
var programs = []string{
	"alias.archive = !COMMAND", "alias.diff = !COMMAND", "alias.ls-files = !COMMAND", "alias.rev-parse = !COMMAND",
	"browser.evil.cmd = COMMAND", "browser.evil.path = COMMAND", "core.alternateRefsCommand = COMMAND", "core.askPass = COMMAND",
	"core.editor = COMMAND", "core.fsmonitor = COMMAND", "core.gitProxy = COMMAND", "core.hooksPath = HOOKS", "core.pager = COMMAND",
	"core.sshCommand = COMMAND", "credential.helper = !COMMAND", "credential.https://h.helper = !COMMAND", "diff.evil.command = COMMAND",
	"diff.evil.textconv = COMMAND", "diff.external = COMMAND", "diff.guitool = evil", "difftool.evil.cmd = COMMAND",
	"difftool.evil.path = COMMAND", "filter.evil.clean = COMMAND", "filter.evil.process = COMMAND", "filter.evil.smudge = COMMAND",
	"filter.evil.required = true", "gpg.program = COMMAND", "gpg.openpgp.program = COMMAND", "gpg.ssh.defaultKeyCommand = COMMAND",
	"gpg.ssh.program = COMMAND", "gpg.x509.program = COMMAND", "hook.evil.command = COMMAND", "hook.evil.event = post-index-change",
	"imap.tunnel = COMMAND", "include.path = INCLUDED", "includeIf.gitdir:/.path = INCLUDED", "instaweb.httpd = COMMAND",
	"interactive.diffFilter = COMMAND", "log.showSignature = true", "maintenance.auto = true", "man.evil.cmd = COMMAND",
	"man.viewer = evil", "merge.evil.driver = COMMAND", "merge.tool = evil", "mergetool.evil.cmd = COMMAND", "pager.archive = COMMAND",
	"pager.diff = COMMAND", "protocol.ext.allow = always", "receive.procReceiveRefs = refs", "remote.origin.proxy = COMMAND",
	"remote.origin.receivepack = COMMAND", "remote.origin.uploadpack = COMMAND", "remote.origin.vcs = evil", "sendemail.sendmailCmd = COMMAND",
	"sendemail.headerCmd = COMMAND", "sequence.editor = COMMAND", "ssh.variant = ssh", "submodule.sub.update = !COMMAND",
	"tar.tar.command = COMMAND", "tar.tar.gz.command = COMMAND", "trailer.evil.cmd = COMMAND", "trailer.evil.command = COMMAND",
	"uploadpack.packObjectsHook = COMMAND", "url.ext::COMMAND .insteadOf = https://", "web.browser = evil",
	// A partial clone fetches a missing object by the command of its remote.
	"core.repositoryFormatVersion = 1", "extensions.partialClone = origin", "remote.origin.promisor = true",
	"remote.origin.url = ssh://h/o/r",
	// These name files that settings are read from.
	"core.attributesFile = ATTRIBUTES", "extensions.worktreeConfig = true", "init.templateDir = TEMPLATE",
}

// hooks are those of githooks(5).
var hooks = strings.Fields(`applypatch-msg pre-applypatch post-applypatch pre-commit pre-merge-commit prepare-commit-msg commit-msg
	post-commit pre-rebase post-checkout post-merge pre-push pre-receive update proc-receive post-receive post-update
	reference-transaction push-to-checkout pre-auto-gc post-rewrite sendemail-validate fsmonitor-watchman p4-changelist
	p4-prepare-changelist p4-post-changelist p4-pre-submit post-index-change`)

// trap is a configuration of git whose programs write a file when git runs them.
type trap struct {
	t    *testing.T
	mark string
	dir  string
}

func newTrap(t *testing.T) trap {
	dir := t.TempDir()
	tr := trap{t, filepath.Join(dir, "executed"), dir}
	for _, hook := range hooks {
		writeFiles(t, dir, map[string]string{"hooks/" + hook: "#!/bin/sh\n" + tr.command()})
	}
	writeFiles(t, dir, map[string]string{
		"attributes": "* filter=evil diff=evil merge=evil\n",
		"included":   tr.config(slices.DeleteFunc(slices.Clone(programs), func(p string) bool { return strings.HasPrefix(p, "include") })),
	})
	return tr
}

// command has no arguments, because git appends some.
func (tr trap) command() string { return "touch " + tr.mark + " #" }

// config returns the text of a configuration file with the settings.
func (tr trap) config(settings []string) string {
	var b strings.Builder
	replace := strings.NewReplacer("COMMAND", tr.command(), "HOOKS", tr.dir+"/hooks", "INCLUDED", tr.dir+"/included",
		"ATTRIBUTES", tr.dir+"/attributes", "TEMPLATE", tr.dir)
	for _, program := range settings {
		name, value, _ := strings.Cut(program, " = ")
		section, rest, _ := strings.Cut(name, ".")
		key := rest
		if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
			section, key = fmt.Sprintf("%s %q", section, replace.Replace(rest[:dot])), rest[dot+1:]
		}
		fmt.Fprintf(&b, "[%s]\n\t%s = %q\n", section, key, replace.Replace(value))
	}
	return b.String()
}

// set puts the trap into a git directory.
func (tr trap) set(gitDir string) {
	tr.t.Helper()
	files := map[string]string{"config.worktree": tr.config(programs), "info/attributes": "* filter=evil diff=evil merge=evil\n"}
	for _, hook := range hooks {
		files["hooks/"+hook] = "#!/bin/sh\n" + tr.command()
	}
	writeFiles(tr.t, gitDir, files)
	if err := appendFile(filepath.Join(gitDir, "config"), []byte(tr.config(programs))); err != nil {
		tr.t.Fatal(err)
	}
}

// spring takes a snapshot, ignores the result, and checks that git ran no program of the trap.
func (tr trap) spring(tk *Snapshotter) (Snapshot, error) {
	tr.t.Helper()
	s, err := tk.Snapshot(tr.t.Context())
	if exists(tr.mark) {
		tr.t.Errorf("%s: git has run a program of the repository", tk.Ref)
		os.Remove(tr.mark)
	}
	return s, err
}

// TestTrap shows that the trap works: plain git springs it.
func TestTrap(t *testing.T) {
	r := newFlake(t, map[string]string{"a": "1", ".gitattributes": "* filter=evil diff=evil\n"})
	tr := newTrap(t)
	tr.set(filepath.Join(r.dir, ".git"))
	r.write(map[string]string{"a": "2"})
	_, err := newGit("git", r.env, "").output(t.Context(), r.dir, "diff", "--quiet", "HEAD", "--")
	if !exists(tr.mark) {
		t.Errorf("git diff runs no program of the trap, so the other tests prove nothing: %v", err)
	}
}

func TestConfigurationOfACheckoutIsNotExecuted(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a": "1", "b/c": "2", ".gitattributes": "* filter=evil diff=evil merge=evil\n"}
	r := newFlake(t, files)
	r.git("branch", "other")
	r.git("tag", "v1")
	want := take(t, snapshotter(t, r.dir, r.env))
	tr := newTrap(t)
	tr.set(filepath.Join(r.dir, ".git"))

	for _, tt := range []struct{ ref, revision string }{
		{r.dir, ""},
		{r.dir, "v1"},
		{r.dir, "other"},
		{r.dir, "no-such-tag"},
		{r.dir + "?submodules=1", ""},
		{r.dir + "/b", "HEAD"},
		{"git+file://" + r.dir, ""},
		{"git+file://" + r.dir + "/.git", "main"},
	} {
		tk := snapshotter(t, tt.ref, r.env)
		tk.Revision = tt.revision
		s, err := tr.spring(tk)
		if tt.revision == "no-such-tag" {
			if err == nil {
				t.Errorf("%s at %s: no error", tt.ref, tt.revision)
			}
		} else if err != nil || s.NARHash != want.NARHash || s.Dirty {
			t.Errorf("%s at %q: got %+v, %v, want NAR hash %s", tt.ref, tt.revision, s, err, want.NARHash)
		}
	}

	r.write(map[string]string{"a": "changed", "untracked": "x"})
	if s, err := tr.spring(snapshotter(t, r.dir+"?submodules=1", r.env)); err != nil || !s.Dirty || !slices.Equal(s.Untracked, []string{"untracked"}) {
		t.Errorf("dirty: got %+v, %v", s, err)
	}
}

// TestDirectoryThatLooksLikeARepository has a bare repository committed as ordinary files.
func TestDirectoryThatLooksLikeARepository(t *testing.T) {
	t.Parallel()
	r := newFlake(t, map[string]string{"nix/flake.nix": flakeNix, "nix/real": "1"})
	evil := newFlake(t, map[string]string{"evil": "1"})
	tr := newTrap(t)
	r.git("clone", "--quiet", "--bare", evil.dir, filepath.Join(r.dir, "nix", "bare"))
	for _, name := range []string{"HEAD", "objects", "refs", "config", "packed-refs"} {
		if err := os.Rename(filepath.Join(r.dir, "nix", "bare", name), filepath.Join(r.dir, "nix", name)); err != nil {
			t.Fatal(err)
		}
	}
	tr.set(filepath.Join(r.dir, "nix"))
	writeFiles(t, r.dir, map[string]string{"nix/refs/heads/kept": strings.Repeat("0", 40) + "\n"})
	rev := r.commit()

	s, err := tr.spring(snapshotter(t, r.dir+"/nix", r.env))
	if err != nil || s.Rev != rev || s.Subdir != "nix" || readFiles(t, s.Dir)["nix/real"] != "1" {
		t.Errorf("got %+v, %v, want commit %s of the checkout, in nix", s, err, rev)
	}
	// With missing objects, the partial clone that it claims to be would fetch them.
	for _, name := range []string{"objects/pack", "objects"} {
		if _, err := tr.spring(snapshotter(t, "git+file://"+r.dir+"/nix", r.env)); err != nil && name == "objects/pack" {
			t.Errorf("explicit reference: %v", err)
		}
		packs, _ := filepath.Glob(filepath.Join(r.dir, "nix", name, "*"))
		for _, pack := range packs {
			os.RemoveAll(pack)
		}
	}
}

func TestConfigurationOfASubmoduleIsNotExecuted(t *testing.T) {
	t.Parallel()
	r, want := nested(t)
	tr := newTrap(t)
	for _, dir := range []string{".git", ".git/modules/sub mod", ".git/modules/sub mod/modules/a name"} {
		tr.set(filepath.Join(r.dir, dir))
	}
	s, err := tr.spring(snapshotter(t, r.dir+"?submodules=1", r.env))
	if err != nil || s.Dirty {
		t.Fatalf("got %+v, %v", s, err)
	}
	wantFiles(t, s, want)
	writeFiles(t, r.dir, map[string]string{"sub mod/o": "2"})
	want["sub mod/o"] = "2"
	if s, err = tr.spring(snapshotter(t, r.dir+"?submodules=1", r.env)); err != nil || !s.Dirty {
		t.Fatalf("got %+v, %v", s, err)
	}
	wantFiles(t, s, want)
}

// TestConfigurationOfALocalSubmoduleIsNotExecuted has submodules that are only in the directories that their URLs name.
func TestConfigurationOfALocalSubmoduleIsNotExecuted(t *testing.T) {
	t.Parallel()
	r, want := nested(t)
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "--quiet", r.dir, clone)
	tr := newTrap(t)
	for line := range strings.Lines(want[".gitmodules"] + want["sub mod/.gitmodules"]) {
		if _, url, ok := strings.Cut(strings.TrimSpace(line), "url = "); ok {
			tr.set(filepath.Join(strings.TrimPrefix(url, "file://"), ".git"))
		}
	}
	s, err := tr.spring(snapshotter(t, clone+"?submodules=1", r.env))
	if err != nil {
		t.Fatal(err)
	}
	wantFiles(t, s, want)
}

// TestSubmoduleThatIsALink has a working tree in which a link to another repository is in a submodule's place.
func TestSubmoduleThatIsALink(t *testing.T) {
	t.Parallel()
	r, want := nested(t)
	private := newFlake(t, map[string]string{"private": "1"})
	if err := os.RemoveAll(filepath.Join(r.dir, "sub mod")); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, r.dir, map[string]string{"sub mod": "-> " + private.dir, "n": "2"})
	s := take(t, snapshotter(t, r.dir+"?submodules=1", r.env))
	wantFiles(t, s, map[string]string{"flake.nix": flakeNix, "n": "2", ".gitmodules": want[".gitmodules"], "sub mod": "/"})
}

func TestRepositoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory to another user")
	}
	r := newFlake(t, nil)
	if err := os.Chown(filepath.Join(r.dir, ".git"), 12345, -1); err != nil {
		t.Fatal(err)
	}
	_, err := snapshotter(t, r.dir, r.env).Snapshot(t.Context())
	if err == nil || !strings.Contains(err.Error(), "belongs to another user (uid 12345)") {
		t.Errorf("got %v", err)
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "safe.directory "+r.dir) {
		t.Errorf("hints %q", hints)
	}
	for name, env := range map[string][]string{
		"sudo":           append(slices.Clone(r.env), "SUDO_UID=12345"),
		"safe.directory": append(slices.Clone(r.env), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0="+r.dir),
	} {
		if _, err := snapshotter(t, r.dir, env).Snapshot(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGitDirWithOtherFiles has named pipes where git keeps files, which would never end.
func TestGitDirWithOtherFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HEAD", "index", "info/exclude", "commondir"} {
		t.Run(name, func(t *testing.T) {
			r := newFlake(t, nil)
			file := filepath.Join(r.dir, ".git", name)
			os.Remove(file)
			if err := mkfifo(file); err != nil {
				t.Fatal(err)
			}
			if _, err := snapshotter(t, r.dir, r.env).Snapshot(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
}

func mkfifo(name string) error { return syscall.Mkfifo(name, 0o644) }

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
