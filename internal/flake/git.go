package flake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// git runs git with some environment.
type git struct {
	program string
	env     []string
}

// grace is how long git has to end after SIGTERM, in which it removes its lock files.
const grace = 5 * time.Second

// elsewhere are the variables that make git look at another repository than the one it is run in.
// They are set where this program is run by a hook. See git rev-parse --local-env-vars.
var locationVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
	"GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY",
	"GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}

// newGit returns a git that uses the user's own configuration, for what needs it: to reach a remote. It runs in
// repositories of our own alone, so that no tree has a part in its configuration.
func newGit(program string, env []string) git {
	if program == "" {
		program = "git"
	}
	own := slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains(locationVariables, name)
	})
	return git{program, append(own,
		"GIT_TERMINAL_PROMPT=0",     // nobody may be there to answer
		"SSH_ASKPASS_REQUIRE=never", // nor to look at a window; see also Setsid
		"GIT_OPTIONAL_LOCKS=0",      // looking at a checkout leaves it alone
		"LC_ALL=C",                  // messages are matched
	)}
}

// neutral returns a git that knows no configuration at all but that of the repository it is run in, which is our own.
// Whatever a user, a system or a hook has set must not change a tree: line endings, filters, attributes.
func (g git) neutral(home string) git {
	env := slices.DeleteFunc(slices.Clone(g.env), func(variable string) bool {
		return strings.HasPrefix(variable, "GIT_") || strings.HasPrefix(variable, "HOME=") ||
			strings.HasPrefix(variable, "XDG_CONFIG_HOME=")
	})
	return git{g.program, append(env,
		"HOME="+home,                  // no ~/.config/git/attributes
		"GIT_CONFIG_GLOBAL=/dev/null", // since git 2.32; HOME does it for older ones
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_LAZY_FETCH=1",      // since git 2.45; our repositories name no remote to fetch from
		"GIT_NO_REPLACE_OBJECTS=1", // a commit is what its hash says
	)}
}

// with returns a git with more in its environment.
func (g git) with(env ...string) git {
	return git{g.program, slices.Concat(g.env, env)}
}

// lookup returns the value of a variable of git's environment; the last one counts.
func (g git) lookup(name string) string {
	for _, variable := range slices.Backward(g.env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// ignoreFile returns the contents of the user's file of patterns for files that git ignores. It only shortens a hint,
// so one that cannot be read is empty.
func (g git) ignoreFile(configured []string) []byte {
	home := g.lookup("HOME")
	name := filepath.Join(cmp.Or(g.lookup("XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "git", "ignore")
	if len(configured) > 0 {
		name = configured[len(configured)-1]
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			name = filepath.Join(home, rest)
		}
	}
	data, _ := regular.Read(name, maxSmallFile)
	return data
}

// output runs git in a directory and returns what it prints, without the last line's end.
func (g git) output(ctx context.Context, dir string, args ...string) (string, error) {
	var out strings.Builder
	err := g.run(ctx, dir, &out, args...)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// run runs git in a directory and copies what it prints to w.
// If git fails, the error is a *gitError; if git was ended because of ctx, the context's.
func (g git) run(ctx context.Context, dir string, w io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, g.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout = dir, g.env, w
	stderr := &lastBytes{max: 16 << 10}
	cmd.Stderr = stderr
	// A session of its own has no terminal, so that ssh cannot prompt on it, and ends as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		if cmd.Process != nil { // what git has started, such as ssh, may still be there
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		return fmt.Errorf("git %s: %w", subcommand(args), ctx.Err())
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		err = fmt.Errorf("run git %s: %w", subcommand(args), err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return hint.Wrap(err, "install git, or give a path: reference")
		}
		return err
	}
	return withGitHint(&gitError{subcommand(args), exit.ExitCode(), nix.Redact(stderr.String())})
}

// stream runs git and has read take what it prints. An error of read's ends git and goes before git's own.
func (g git) stream(ctx context.Context, dir string, read func(io.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := g.run(ctx, dir, w, args...)
		w.CloseWithError(err) // nil is io.EOF
		done <- err
	}()
	err := read(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // such as the padding of an archive: git should not die of a closed pipe
	}
	if err != nil {
		cancel()
		r.CloseWithError(err)
	}
	if gitErr := <-done; err == nil {
		return gitErr
	}
	return err
}

// gitError says that git ran and failed.
type gitError struct {
	subcommand string
	code       int
	stderr     string // redacted
}

func (e *gitError) Error() string {
	lines := strings.Split(strings.TrimSpace(e.stderr), "\n")
	for _, prefix := range []string{"fatal: ", "error: ", ""} {
		for _, line := range slices.Backward(lines) {
			if reason, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok && reason != "" {
				return fmt.Sprintf("git %s: %s", e.subcommand, reason)
			}
		}
	}
	return fmt.Sprintf("git %s: exit code %d", e.subcommand, e.code)
}

// failedWith tells whether git failed and said one of the texts.
func failedWith(err error, texts ...string) bool {
	e, ok := errors.AsType[*gitError](err)
	return ok && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(e.stderr, text) })
}

// withGitHint adds what a user can do about the usual failures of git.
func withGitHint(err *gitError) error {
	switch {
	case failedWith(err, "Could not resolve host", "Temporary failure in name resolution", "Name or service not known"):
		return hint.Wrap(err, "check the network and the name of the host")
	case failedWith(err, "Authentication failed", "could not read Username", "could not read Password", "terminal prompts disabled",
		"Permission denied (publickey", "Host key verification failed", "HTTP 401", "HTTP 403", "error: 401", "error: 403",
		"Repository not found", "could not be found or you don't have permission"):
		return hint.Wrap(err, "set up git credentials for the host (git ls-remote must work without a prompt), and check the repository's name")
	case failedWith(err, "invalid object", "unable to read", "missing blob", "Could not read"):
		return hint.Wrap(err, "the checkout lacks objects, as a partial clone does: git fetch --refetch --no-filter")
	default:
		return err
	}
}

// subcommand returns the first argument that is not an option, such as "fetch". Options here have their value in one argument.
func subcommand(args []string) string {
	for i, arg := range args {
		if !strings.HasPrefix(arg, "-") && (i == 0 || args[i-1] != "-c") {
			return arg
		}
	}
	return ""
}

// tail keeps the end of what is written to it.
type lastBytes struct {
	max int
	buf []byte
}

func (t *lastBytes) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = slices.Delete(t.buf, 0, over)
	}
	return len(p), nil
}

func (t *lastBytes) String() string { return string(t.buf) }
