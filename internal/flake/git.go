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
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// git runs git with an environment.
type git struct {
	program string
	env     []string
	scratch string // a directory for repositories
}

// grace is the time between SIGTERM, at which git removes its lock files, and SIGKILL.
const grace = 5 * time.Second

// locationVariables make git use another repository than the one in which it runs. They are set where a hook runs this
// program. See git rev-parse --local-env-vars.
var locationVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
	"GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY",
	"GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}

// newGit returns a git with a directory for repositories, which close removes.
func (t *Snapshotter) newGit() (git, error) {
	dir, err := filepath.Abs(t.Dir) // git runs in other directories
	if err != nil {
		return git{}, err
	}
	scratch, err := os.MkdirTemp(dir, "git-*")
	return newGit(cmp.Or(t.gitProgram, "git"), t.Env, scratch), err
}

func (g git) close() { _ = os.RemoveAll(g.scratch) }

// newGit returns a git with the user's own configuration, which it needs to reach a remote. It runs only in repositories
// that this program has made, so that no checkout contributes to its configuration.
func newGit(program string, env []string, scratch string) git {
	return git{program: program, scratch: scratch, env: append(child.Without(env, locationVariables...),
		"GIT_TERMINAL_PROMPT=0",     // a prompt would wait without end
		"SSH_ASKPASS_REQUIRE=never", // no prompt in a window; a separate session has no terminal
		"GIT_OPTIONAL_LOCKS=0",      // reading a checkout does not change it
		"LC_ALL=C",                  // messages are parsed
	)}
}

// neutral returns a git without any configuration but that of the repository in which it runs, which this program has
// made. Settings of a user, a system or a hook must not change a tree: line endings, filters, attributes.
func (g git) neutral(home string) git {
	env := slices.DeleteFunc(slices.Clone(g.env), func(variable string) bool {
		return strings.HasPrefix(variable, "GIT_") || strings.HasPrefix(variable, "HOME=") ||
			strings.HasPrefix(variable, "XDG_CONFIG_HOME=")
	})
	g.env = append(env,
		"HOME="+home,                  // no ~/.config/git/attributes
		"GIT_CONFIG_GLOBAL=/dev/null", // since git 2.32; HOME does it for older ones
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_LAZY_FETCH=1",      // since git 2.45; older ones find no remote to fetch from
		"GIT_NO_REPLACE_OBJECTS=1", // the contents of a commit are those that its hash states
	)
	return g
}

// with returns a git with further variables.
func (g git) with(env ...string) git {
	g.env = slices.Concat(g.env, env)
	return g
}

// lookup returns the value of a variable of git's environment.
func (g git) lookup(name string) string {
	value, _ := child.Lookup(g.env, name)
	return value
}

// ignoreFile returns the user's file of patterns for ignored files. It is used only for a hint, so that an unreadable one
// counts as empty.
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

// output runs git in a directory and returns its output without the last line break.
func (g git) output(ctx context.Context, dir string, args ...string) (string, error) {
	var out strings.Builder
	err := g.run(ctx, dir, &out, args...)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// list runs git in a directory and returns the strings of its output that end with a zero byte.
func (g git) list(ctx context.Context, dir string, args ...string) ([]string, error) {
	var out strings.Builder
	err := g.run(ctx, dir, &out, args...)
	entries := strings.Split(out.String(), "\x00")
	return entries[:len(entries)-1], err
}

// run runs git in a directory and copies its output to w. If git fails, the error is a *gitError; if the context ends it,
// that of the context.
func (g git) run(ctx context.Context, dir string, w io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, g.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout = dir, g.env, w
	cmd.WaitDelay = grace
	stderr, err := child.Run(ctx, cmd)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", subcommand(args), ctx.Err())
	}
	code, failed := child.ExitCode(err)
	if !failed {
		err = fmt.Errorf("run git %s: %w", subcommand(args), err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return hint.Wrap(err, "install git, or give a path: reference")
		}
		return err
	}
	return withGitHint(&gitError{subcommand(args), code, nix.Redact(stderr)})
}

// stream runs git and calls read with its output. An error of read ends git and takes precedence over git's own.
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
		_, err = io.Copy(io.Discard, r) // such as the padding of an archive: git would fail on a closed pipe
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

// gitError is the error of a git that ran and failed.
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

// failedWith reports whether git failed with a message that has one of the texts.
func failedWith(err error, texts ...string) bool {
	e, ok := errors.AsType[*gitError](err)
	return ok && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(e.stderr, text) })
}

// withGitHint adds hints to the usual failures of git.
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

// subcommand returns the first argument that is not an option, such as "fetch". Options other than -c include their value.
func subcommand(args []string) string {
	for i, arg := range args {
		if !strings.HasPrefix(arg, "-") && (i == 0 || args[i-1] != "-c") {
			return arg
		}
	}
	return ""
}
